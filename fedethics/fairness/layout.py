"""What every site tabulates, and where each entry lies: a pure function of the charter.

`Tables` is what was opened: the noised sums over all sites, and how much noise they carry.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedethics.errors import FairnessError
from fedethics.fairness.explained import (
    INTERSECTION,
    NOTHING_EXPLAINED,
    Explained,
    Explanation,
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


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Tables:
    """Summed tables of one release. All metrics are post-processing of these and nothing else.

    Attributes:
        layout: the charter's layout.
        counts: (cells, targets, decisions) int64; entries may be negative through noise.
        histogram: (histogram cells, rows, bins) int64; entries likewise.
        counts_variance: variance of the integer noise on each entry of `counts`; 0 is no noise.
        histogram_variance: the same for each entry of `histogram`.
        sites: number of sites in the sum.
        absent: for each site in the sum, the groups that it declares to have hardly anybody of, as
            (feature, group); what sites published, not what was counted.
        explanation: summed changes of scores, where the layout has any.
    """

    layout: Layout
    counts: NDArray[np.int64]
    histogram: NDArray[np.int64]
    counts_variance: float
    histogram_variance: float
    sites: int
    absent: tuple[frozenset[tuple[str, str]], ...] = ()
    explanation: Explanation | None = None

    @classmethod
    def from_vector(
        cls,
        vector: ArrayLike,
        *,
        layout: Layout,
        counts_variance: float,
        histogram_variance: float,
        sites: int,
        absent: tuple[frozenset[tuple[str, str]], ...] = (),
        effects_variance: float = 0.0,
        flips_variance: float = 0.0,
    ) -> Tables:
        """Cut an opened sum, shape (layout.length,), into its blocks.

        Raises:
            FairnessError: wrong length or type, an invalid variance, or, without noise, sums that
                no set of records can give (negative, or the two blocks disagree).
        """
        flat = np.asarray(vector)
        if flat.shape != (layout.length,) or not np.issubdtype(flat.dtype, np.integer):
            raise FairnessError(
                f"opened sum has shape {flat.shape} and type {flat.dtype}; this layout needs "
                f"({layout.length},) integers"
            )
        variances = (counts_variance, histogram_variance, effects_variance, flips_variance)
        if not all(math.isfinite(v) and v >= 0 for v in variances):
            raise FairnessError(f"noise variances {variances!r} must be finite and not negative")
        if sites < 1:
            raise FairnessError(f"a sum over {sites} sites is not a sum")
        whole = flat.astype(np.int64)
        measured, tables = layout.measured, whole[: layout.tables_length]
        counts = tables[: layout.counts_length].reshape(layout.num_cells, *measured.decisions)
        histogram = tables[layout.counts_length :].reshape(-1, measured.rows, layout.bins)
        _refuse_impossible(layout, counts, histogram, counts_variance, histogram_variance)
        explained = layout.explained
        explanation = Explanation.of(
            whole[layout.tables_length :],
            layout=explained,
            effects=effects_variance,
            flips=flips_variance,
        )
        counts.setflags(write=False)
        histogram.setflags(write=False)
        return cls(
            layout=layout,
            counts=counts,
            histogram=histogram,
            counts_variance=float(counts_variance),
            histogram_variance=float(histogram_variance),
            sites=sites,
            absent=absent,
            explanation=explanation if explained.length else None,
        )

    def contributors(self, group: frozenset[tuple[str, str]]) -> int:
        """Return how many sites have records of a group or intersection, by their declarations."""
        return self.sites - sum(bool(group & lacking) for lacking in self.absent)


def _refuse_impossible(
    layout: Layout,
    counts: NDArray[np.int64],
    histogram: NDArray[np.int64],
    counts_variance: float,
    histogram_variance: float,
) -> None:
    for name, block, variance in (
        ("counts", counts, counts_variance),
        ("histogram", histogram, histogram_variance),
    ):
        if variance == 0 and (block < 0).any():
            raise FairnessError(
                f"{int((block < 0).sum())} entries of {name} are negative although their noise "
                "variance is given as 0; state the true variance"
            )
    exact = counts_variance == 0 and histogram_variance == 0
    finer = tuple(axis for axis in range(len(layout.shape)) if axis not in layout.histogram_axes)
    targets = layout.measured.decisions[0]
    coarse = counts.sum(axis=2).reshape(*layout.shape, targets).sum(axis=finer).reshape(-1, targets)
    if layout.measured.rows != targets:
        coarse = coarse.sum(axis=1, keepdims=True)
    if exact and (coarse != histogram.sum(axis=2)).any():
        raise FairnessError(
            "counts and histogram, both without noise, hold different numbers of records; "
            "some site's vector is wrong or uses another layout"
        )
