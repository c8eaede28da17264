"""The noise of a clipped sum of gradients, by the name in `privacy.training.noise`.

Each mode says on which numbers it is drawn, how, and with which variance. What a step costs is the
same under each: `events.SampledGaussian`. A mode that is not in the registry is refused by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from fedethics.errors import TrainingError
from fedethics.privacy import wide_gaussian
from fedethics.privacy.gaussian_shares import NORM_STEPS, share_std
from fedethics.privacy.noise import NoiseSource
from fedethics.training.gaussian import gaussian

Draws = NDArray[np.float64] | NDArray[np.int64]


class Noised(Protocol):
    """What a mode must know of the terms of a step (`LocalTerms`)."""

    @property
    def noise_multiplier(self) -> float:
        """Noise std over clipping norm; 0.0 is no noise."""

    @property
    def noise_std(self) -> float:
        """Standard deviation of the noise, in units of gradient."""

    @property
    def grid_scale(self) -> float:
        """Grid steps in a unit of gradient."""


class GradientNoise(ABC):
    """One mode.

    Attributes:
        name: its name in the charter.
        exact: whether sum and noise are integers, in grid steps. Then each record is computed
            alone, and the clipping norm must be finite and stay.
    """

    name: ClassVar[str]
    exact: ClassVar[bool]

    @abstractmethod
    def unit(self, terms: Noised) -> float:
        """Return how many of its numbers are one unit of gradient."""

    @abstractmethod
    def variance(self, terms: Noised) -> float:
        """Return the variance of the noise of one coordinate, in its numbers squared."""

    @abstractmethod
    def draw(self, noise: NoiseSource, *, size: int, terms: Noised) -> Draws:
        """Return the noise of `size` coordinates of one sum."""


class Fast(GradientNoise):
    """Float64 Gaussian noise on a float64 sum."""

    name = "fast"
    exact = False

    def unit(self, terms: Noised) -> float:
        """Return 1.0: the sum is in units of gradient."""
        return 1.0

    def variance(self, terms: Noised) -> float:
        """Return that of the promised noise."""
        return terms.noise_std**2

    def draw(self, noise: NoiseSource, *, size: int, terms: Noised) -> Draws:
        """Draw floating-point numbers: see `gaussian`."""
        return gaussian(noise, size=size, std=terms.noise_std)


class Strict(GradientNoise):
    """Exact discrete Gaussian noise on a sum of integer gradients."""

    name = "strict"
    exact = True

    def unit(self, terms: Noised) -> float:
        """Return the scale of the grid."""
        return terms.grid_scale

    def variance(self, terms: Noised) -> float:
        """Return that of the promised noise, and what makes up for the grid."""
        return self._std(terms) ** 2 if terms.noise_multiplier else 0.0

    def draw(self, noise: NoiseSource, *, size: int, terms: Noised) -> Draws:
        """Draw exactly: see `wide_gaussian.sample`; zeros where the terms promise no noise."""
        if not terms.noise_multiplier:
            return np.zeros(size, dtype=np.int64)
        return wide_gaussian.sample(noise, size=size, sigma=self._std(terms))

    def _std(self, terms: Noised) -> float:
        return share_std(terms.noise_multiplier * NORM_STEPS, shares=1)


GRADIENT_NOISES: Final[Mapping[str, GradientNoise]] = {
    each.name: each for each in (Fast(), Strict())
}


def gradient_noise(name: str) -> GradientNoise:
    """Return the mode of this name.

    Raises:
        TrainingError: there is none; nothing was computed.
    """
    if name not in GRADIENT_NOISES:
        known = ", ".join(GRADIENT_NOISES)
        raise TrainingError(f"no noise of gradients is named {name!r}; known: {known}")
    return GRADIENT_NOISES[name]
