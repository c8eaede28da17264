"""Sums of score changes: their layout in the released vector, and what they say once opened.

Blocks, in this order, each flattened in C order: `effects[column, group]`, how much scores change
when a column is left out; for each swapped feature `shifts[group, fell or rose]`, how much scores
change when the group's word is swapped; for each swapped feature `flips[group, prediction]`, how
many decisions change.

`SensitiveFeature` is a feature and its groups, as the charter declares them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedethics.errors import FairnessError

INTERSECTION = "*"


@dataclass(frozen=True, kw_only=True, slots=True)
class SensitiveFeature:
    """One sensitive feature and the group values that the charter declares for it.

    Raises:
        FairnessError: no name, no groups, repeated groups, or a `*` (it joins intersections).
    """

    name: str
    groups: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.groups or len(set(self.groups)) != len(self.groups):
            raise FairnessError(
                f"sensitive feature {self.name!r} needs distinct group values, got {self.groups!r}"
            )
        for word in (self.name, *self.groups):
            if not word.strip() or INTERSECTION in word:
                raise FairnessError(
                    f"{word!r} cannot name a sensitive feature or a group: it is empty or holds "
                    f"{INTERSECTION!r}, which joins the features of an intersection"
                )


FloatArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Explained:
    """Which changes are summed; nothing by default.

    Guarantee: a record moves at most `changes` entries of effects and shifts together, each by at
    most `steps`, and at most one entry of the flips of each swapped feature, by 1.

    Attributes:
        columns: left out, one at a time.
        by: feature whose groups the effects are summed apart for; None for everyone together.
        swaps: features whose word is swapped.
        largest_change: a change of the score counts up to this much, as `steps` steps.
        steps: whole numbers that a change is rounded to.

    Raises:
        FairnessError: a column or feature is listed twice, or a bound is not above 0.
    """

    columns: tuple[str, ...] = ()
    by: SensitiveFeature | None = None
    swaps: tuple[SensitiveFeature, ...] = ()
    largest_change: float = 1.0
    steps: int = 64

    def __post_init__(self) -> None:
        names = [feature.name for feature in self.swaps]
        if len(set(self.columns)) != len(self.columns) or len(set(names)) != len(names):
            raise FairnessError(
                f"columns {self.columns!r} or swaps {names!r}: a name is listed twice"
            )
        if not 0.0 < self.largest_change <= 1.0 or self.steps < 1:
            raise FairnessError(
                f"largest change {self.largest_change!r} in {self.steps!r} steps: the first must "
                "be in (0, 1], the second at least 1"
            )

    @property
    def groups(self) -> int:
        """Number of groups that effects are summed apart for."""
        return len(self.by.groups) if self.by else 1

    @property
    def changes(self) -> int:
        """Entries of effects and shifts that one record can move."""
        return len(self.columns) + len(self.swaps)

    @property
    def effects_length(self) -> int:
        """Entries of effects and shifts."""
        return len(self.columns) * self.groups + self.flips_length

    @property
    def flips_length(self) -> int:
        """Entries of the flips: as many as of the shifts."""
        return sum(2 * len(feature.groups) for feature in self.swaps)

    @property
    def length(self) -> int:
        """Entries of all blocks."""
        return self.effects_length + self.flips_length


NOTHING_EXPLAINED = Explained()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SwapSums:
    """What swapping one feature's word did, by group.

    Attributes:
        flips: (G, 2), decisions that changed, [group, prediction before].
        shifts: (G, 2), summed changes of the score, [group, fell or rose], both counted positive.
        flips_variance, shifts_variance: noise variance of each entry.
        most: the largest change that counts.
        step: what each change was rounded to.
    """

    flips: FloatArray
    shifts: FloatArray
    flips_variance: float
    shifts_variance: float
    most: float
    step: float

    def scaled(self, *, records: float, noise: float) -> SwapSums:
        """Return the same rates with `records` times as many people, `noise` times the std."""
        return replace(
            self,
            flips=self.flips * records,
            shifts=self.shifts * records,
            flips_variance=self.flips_variance * noise**2,
            shifts_variance=self.shifts_variance * noise**2,
        )

    def kept(self, keep: BoolArray) -> SwapSums:
        """Return the groups where `keep` is true."""
        return replace(self, flips=self.flips[keep], shifts=self.shifts[keep])

    def together(self) -> SwapSums:
        """Return all groups as one."""
        return replace(
            self,
            flips=self.flips.sum(axis=0, keepdims=True),
            shifts=self.shifts.sum(axis=0, keepdims=True),
            flips_variance=self.flips_variance * len(self.flips),
            shifts_variance=self.shifts_variance * len(self.shifts),
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Explanation:
    """The opened sums in units of the score.

    Attributes:
        layout: which changes these are.
        effects: (columns, groups), summed changes, counted positive; noise may make them negative.
        effects_variance: noise variance of each of them.
        step: what each change was rounded to.
        swaps: by feature.
    """

    layout: Explained
    effects: FloatArray
    effects_variance: float
    step: float
    swaps: dict[str, SwapSums]

    @classmethod
    def of(
        cls, flat: NDArray[np.int64], *, layout: Explained, effects: float, flips: float
    ) -> Explanation:
        """Cut the opened integers, shape (layout.length,), into their blocks.

        Args:
            flat: the opened sum of these blocks.
            layout: which changes were summed.
            effects: noise variance of an integer of effects and shifts.
            flips: noise variance of an integer of flips.

        Raises:
            FairnessError: negative entries although no noise is stated.
        """
        for block, variance in (
            (flat[: layout.effects_length], effects),
            (flat[layout.effects_length :], flips),
        ):
            if variance == 0 and (block < 0).any():
                raise FairnessError(
                    f"{int((block < 0).sum())} sums of changes are negative although their noise "
                    "variance is given as 0; state the true variance"
                )
        unit = layout.largest_change / layout.steps
        columns = len(layout.columns)
        whole = flat.astype(np.float64)
        start = columns * layout.groups
        shift, flip = whole[start : layout.effects_length], whole[layout.effects_length :]
        swaps, place = {}, 0
        for feature in layout.swaps:
            end = place + 2 * len(feature.groups)
            swaps[feature.name] = SwapSums(
                flips=flip[place:end].reshape(-1, 2),
                shifts=shift[place:end].reshape(-1, 2) * unit,
                flips_variance=flips,
                shifts_variance=effects * unit**2,
                most=layout.largest_change,
                step=unit,
            )
            place = end
        return cls(
            layout=layout,
            effects=whole[:start].reshape(columns, layout.groups) * unit,
            effects_variance=effects * unit**2,
            step=unit,
            swaps=swaps,
        )
