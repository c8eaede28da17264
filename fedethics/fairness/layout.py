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
    combination of group values, the last feature varying fastest. The histogram may be crossed
    with fewer features than the counts: noise is drawn for each of its many entries, so on few
    records a finer histogram says less about everyone.

    Guarantee: a record touches exactly one entry of each block, so that adding or removing one
    record changes each block by 1 (L1 and L2 sensitivity 1).

    Attributes:
        features: the sensitive features, at least one.
        bins: score bins of equal width over [0, 1], at least 64.
        threshold: a record is predicted positive when its score >= threshold.
        histogram_by: names of the features that the histogram is crossed with; None for all, and
            empty for one histogram over everyone.

    Raises:
        FairnessError: no features, a repeated or unknown feature, too few bins, threshold outside
            [0, 1].
    """

    features: tuple[SensitiveFeature, ...]
    bins: int = MINIMUM_BINS
    threshold: float = 0.5
    histogram_by: tuple[str, ...] | None = None

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
        for name in self.histogram_by or ():
            self.feature(name)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of groups of each feature, in declared order."""
        return tuple(len(feature.groups) for feature in self.features)

    @property
    def histogram_axes(self) -> tuple[int, ...]:
        """Positions of the features that the histogram is crossed with, in declared order."""
        wanted = self.histogram_by
        return tuple(
            axis
            for axis, feature in enumerate(self.features)
            if wanted is None or feature.name in wanted
        )

    @property
    def histogram_cells(self) -> int:
        """Size of the cross product of the features that the histogram is crossed with."""
        return math.prod(self.shape[axis] for axis in self.histogram_axes)

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
        """Entries of the histogram block: histogram cell x label x score bin."""
        return self.histogram_cells * 2 * self.bins

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
