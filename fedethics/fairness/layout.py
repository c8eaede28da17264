"""What every site tabulates, and where each entry lies: a pure function of the charter."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fedethics.errors import FairnessError

MINIMUM_BINS = 64
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The shape of the released integer vector: `counts` first, then `histogram`.

    `counts[cell, y, yhat]` and `histogram[cell, y, bin]` are flattened in C order. A cell is one
    combination of group values, the last feature varying fastest.

    Guarantee: a record touches exactly one entry of each block, so that adding or removing one
    record changes each block by 1 (L1 and L2 sensitivity 1).

    Attributes:
        features: the sensitive features, at least one.
        bins: score bins of equal width over [0, 1], at least 64.
        threshold: a record is predicted positive when its score >= threshold.

    Raises:
        FairnessError: no features, a repeated feature, too few bins, threshold outside [0, 1].
    """

    features: tuple[SensitiveFeature, ...]
    bins: int = MINIMUM_BINS
    threshold: float = 0.5

    def __post_init__(self) -> None:
        names = [feature.name for feature in self.features]
        if not names or len(set(names)) != len(names):
            raise FairnessError(f"a layout needs distinct sensitive features, got {names!r}")
        if self.bins < MINIMUM_BINS:
            raise FairnessError(
                f"{self.bins} score bins are too few to bound the area under the ROC curve; "
                f"use at least {MINIMUM_BINS}"
            )
        if not 0.0 <= self.threshold <= 1.0:
            raise FairnessError(f"threshold {self.threshold!r} is outside [0, 1]")

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of groups of each feature, in declared order."""
        return tuple(len(feature.groups) for feature in self.features)

    @property
    def num_cells(self) -> int:
        """Size of the cross product of all sensitive features."""
        return math.prod(self.shape)

    @property
    def counts_length(self) -> int:
        """Entries of the counts block: cell x label x prediction."""
        return self.num_cells * 4

    @property
    def histogram_length(self) -> int:
        """Entries of the histogram block: cell x label x score bin."""
        return self.num_cells * 2 * self.bins

    @property
    def length(self) -> int:
        """Entries of the whole vector."""
        return self.counts_length + self.histogram_length

    @property
    def progress_length(self) -> int:
        """Entries of the progress vector: label x prediction, no groups."""
        return 4

    def feature(self, name: str) -> SensitiveFeature:
        """Return the declared feature called `name`.

        Raises:
            FairnessError: no such feature.
        """
        for feature in self.features:
            if feature.name == name:
                return feature
        declared = ", ".join(feature.name for feature in self.features)
        raise FairnessError(
            f"sensitive feature {name!r} is not declared; declared: {declared}. Join features "
            f"with {INTERSECTION!r} for an intersection, for example "
            f"{INTERSECTION.join(feature.name for feature in self.features)!r}"
        )
