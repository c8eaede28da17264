"""What every site tabulates, and where each entry lies: a pure function of the charter."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fedethics.errors import FairnessError
from fedethics.fairness.explained import (
    INTERSECTION,
    NOTHING_EXPLAINED,
    Explained,
    SensitiveFeature,
)
from fedethics.fairness.measured import TWO_CLASSES, Measured

__all__ = ["INTERSECTION", "MINIMUM_BINS", "Layout", "SensitiveFeature"]

MINIMUM_BINS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The shape of the released integer vector: `counts`, `histogram`, then what is explained.

    `counts[cell, target, decision]` and `histogram[cell, row, bin]` are flattened in C order; how
    many targets, decisions and rows there are is the task's to say, in `measured`. A cell is one
    combination of group values, the last feature varying fastest. The histogram may be crossed
    with fewer features than the counts: noise is drawn for each of its many entries, so on few
    records a finer histogram says less about everyone.

    Guarantee: a record touches exactly one entry of counts and of histogram, so that adding or
    removing one record changes each of the two by 1 (L1 and L2 sensitivity 1). `Explained` says
    what it changes in the rest.

    Attributes:
        features: the sensitive features, at least one.
        bins: score bins of equal width over [0, 1], at least 64.
        threshold: a record is predicted positive when its score >= threshold.
        histogram_by: names of the features that the histogram is crossed with; None for all, and
            empty for one histogram over everyone.
        explained: which changes of scores are summed besides; nothing by default.
        measured: what the charter's task counts of a record.

    Raises:
        FairnessError: no features, a repeated or unknown feature, too few bins, threshold outside
            [0, 1].
    """

    features: tuple[SensitiveFeature, ...]
    bins: int = MINIMUM_BINS
    threshold: float = 0.5
    histogram_by: tuple[str, ...] | None = None
    explained: Explained = NOTHING_EXPLAINED
    measured: Measured = TWO_CLASSES

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
        for used in (*self.explained.swaps, *filter(None, [self.explained.by])):
            self.feature(used.name)

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
        """Entries of the counts block: cell x target x decision."""
        return self.num_cells * self.measured.entries

    @property
    def histogram_length(self) -> int:
        """Entries of the histogram block: histogram cell x row x score bin."""
        return self.histogram_cells * self.measured.rows * self.bins

    @property
    def tables_length(self) -> int:
        """Entries of counts and histogram together."""
        return self.counts_length + self.histogram_length

    @property
    def length(self) -> int:
        """Entries of the whole vector."""
        return self.tables_length + self.explained.length

    @property
    def progress_length(self) -> int:
        """Entries of the progress vector: target x decision, no groups."""
        return self.measured.entries

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
