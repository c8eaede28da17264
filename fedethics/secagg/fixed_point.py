"""Real vectors as integers on a grid: clip, scale, round at random so that the mean is kept.

Source: stochastic rounding as in Kairouz, Liu, Steinke (2021), section 4 (without the rotation).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedethics.errors import SecaggReject

_CHUNK = 1 << 16
_RANDOM_UNIT = 2.0**-32


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantiser:
    """Rounds to a grid of 1 / scale after clipping each coordinate to [-clip, clip].

    Guarantee: given x, the rounded coordinate has mean clip(x) * scale (to 2**-32) and is one of
    its two neighbours on the grid, so it moves by less than one step.

    Attributes:
        clip: largest magnitude kept, per coordinate.
        scale: grid steps per unit.

    Raises:
        ValueError: clip or scale is not a positive finite number, or the grid exceeds 2**52.
    """

    clip: float
    scale: float

    def __post_init__(self) -> None:
        for name, value in (("clip", self.clip), ("scale", self.scale)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"quantiser: {name} {value!r} is not a positive finite number")
        if self.clip * self.scale >= 2**52:
            raise ValueError(
                f"quantiser: clip {self.clip} times scale {self.scale} exceeds 2**52, where a "
                "float64 no longer has a fraction to round"
            )

    @property
    def bound(self) -> int:
        """The largest magnitude that `quantise` can return."""
        return math.ceil(self.clip * self.scale)

    def quantise(
        self, vector: NDArray[np.floating[Any]], *, random_bytes: Callable[[int], bytes]
    ) -> NDArray[np.int64]:
        """Return `vector`, shape (length,), on the grid.

        Args:
            vector: finite floats.
            random_bytes: the site's own CSPRNG; four bytes a coordinate.

        Raises:
            SecaggReject: a coordinate is NaN or infinite; its place and value are not named.
        """
        if vector.ndim != 1 or not np.all(np.isfinite(vector)):
            raise SecaggReject(
                "the vector to quantise is not one-dimensional and finite; nothing was sent"
            )
        grid = np.empty(len(vector), dtype=np.int64)
        for start in range(0, len(vector), _CHUNK):
            part = vector[start : start + _CHUNK].astype(np.float64)
            np.clip(part, -self.clip, self.clip, out=part)
            part *= self.scale
            low = np.floor(part)
            part -= low
            draws = np.frombuffer(random_bytes(4 * len(part)), dtype="<u4") * _RANDOM_UNIT
            # Up with probability equal to the fraction; a fraction of 0 never goes up.
            low += draws < part
            grid[start : start + _CHUNK] = low
        return grid

    def dequantise(self, total: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return a sum of grid vectors, shape (length,), in the original unit."""
        return total.astype(np.float64) / self.scale
