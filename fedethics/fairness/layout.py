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
from fedethics.fairness.score_edges import COARSE_BINS, coarse_edges, fine_edges

__all__ = ["INTERSECTION", "MINIMUM_BINS", "Layout", "SensitiveFeature"]

MINIMUM_BINS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The shape of the released integer vector: count blocks, score blocks, then what is explained.

    A count block is `counts[cell, target, decision]`, flattened in C order. A cell is one
    combination of group values of the block's features, the last varying fastest. By default there
    is one block, over all features; `counted_by` names several.

    Scores are one block `histogram[cell, row, bin]`, or, if `nested`, two: the first has 8 coarse
    bins and is crossed with the features of `histogram_by`, the second has `bins` and is over
    everyone. The coarse one says where people are, the fine one in which order: together they say
    more than one block at the same epsilon (docs/fairness.md).

    Guarantee: a record touches exactly one entry of each block, so that adding or removing one
    record changes each of them by 1 (L1 and L2 sensitivity 1). `Explained` says what it changes in
    the rest.

    Attributes:
        features: the sensitive features; without any, each block is over everyone.
        bins: fine score bins over [0, 1], at least 64.
        finest_at: score around which they are finest; None for equal widths (`score_edges`).
        threshold: a record is predicted positive when its score >= threshold.
        histogram_by: names of the features that the histogram is crossed with; None for all, and
            empty for one histogram over everyone.
        counted_by: for each count block, the names of its features; None for one block of all.
        nested: whether there are two score blocks.
        explained: which changes of scores are summed besides; nothing by default.
        measured: what the charter's task counts of a record.

    Raises:
        FairnessError: a repeated or unknown feature, a feature that no block counts,
            too few bins, threshold outside [0, 1], two score blocks that do not nest, or bins that
            are finest around a score while no threshold decides.
    """

    features: tuple[SensitiveFeature, ...]
    bins: int = MINIMUM_BINS
    threshold: float = 0.5
    histogram_by: tuple[str, ...] | None = None
    counted_by: tuple[tuple[str, ...], ...] | None = None
    nested: bool = False
    explained: Explained = NOTHING_EXPLAINED
    measured: Measured = TWO_CLASSES
    finest_at: float | None = None

    def __post_init__(self) -> None:
        names = [feature.name for feature in self.features]
        if len(set(names)) != len(names):
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
        for name in (name for block in self.counted_by or () for name in block):
            self.feature(name)
        counted = {axis for block in self.count_blocks for axis in block}
        if uncounted := [name for axis, name in enumerate(names) if axis not in counted]:
            raise FairnessError(f"no count block holds the feature {', '.join(uncounted)}")
        self._check_edges()

    def _check_edges(self) -> None:
        if self.finest_at is not None:
            if not 0.0 < self.finest_at < 1.0 or not 0.0 < self.threshold < 1.0:
                raise FairnessError(
                    f"bins finest at {self.finest_at!r} with threshold {self.threshold!r}: both "
                    "must lie between 0 and 1"
                )
            if not self.measured.thresholded:
                raise FairnessError(
                    "finest-at is for scores that a threshold decides; this task's measure has "
                    "none. Leave the key out: its bins have equal width"
                )
        if self.nested and (
            self.bins % COARSE_BINS or not set(self.coarse_edges) <= set(self.fine_edges)
        ):
            raise FairnessError(
                f"{self.bins} fine bins do not nest in {COARSE_BINS} coarse ones cut at the "
                f"threshold {self.threshold:g}: take a multiple of {COARSE_BINS} of which the "
                "threshold is an edge"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of groups of each feature, in declared order."""
        return tuple(len(feature.groups) for feature in self.features)

    @property
    def count_blocks(self) -> tuple[tuple[int, ...], ...]:
        """Positions of the features that each count block is crossed with, in declared order."""
        if self.counted_by is None:
            return (tuple(range(len(self.features))),)
        return tuple(
            tuple(axis for axis, feature in enumerate(self.features) if feature.name in names)
            for names in self.counted_by
        )

    @property
    def histogram_axes(self) -> tuple[int, ...]:
        """Positions of the features that the histogram is crossed with, in declared order."""
        wanted = self.histogram_by
        return tuple(
            axis
            for axis, feature in enumerate(self.features)
            if wanted is None or feature.name in wanted
        )

    def cells(self, axes: tuple[int, ...]) -> int:
        """Size of the cross product of the features at these positions."""
        return math.prod(self.shape[axis] for axis in axes)

    @property
    def histogram_cells(self) -> int:
        """Size of the cross product of the features that the histogram is crossed with."""
        return self.cells(self.histogram_axes)

    @property
    def num_cells(self) -> int:
        """Size of the cross product of all sensitive features."""
        return math.prod(self.shape)

    def groups_of(self, cells: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the group of each feature in each cell, shape (n, features)."""
        if not self.features:
            return np.zeros((len(cells), 0), dtype=np.int64)
        return np.stack(np.unravel_index(cells, self.shape), axis=1)

    @property
    def fine_edges(self) -> tuple[float, ...]:
        """Edges of the `bins` bins."""
        return fine_edges(self.bins, threshold=self.threshold, finest_at=self.finest_at)

    @property
    def coarse_edges(self) -> tuple[float, ...]:
        """Edges of the bins that are crossed with groups: 8 coarse and the threshold if nested.

        So the counts by decision nest in them as well.
        """
        if not self.nested:
            return self.fine_edges
        return coarse_edges(self.bins, threshold=self.threshold, finest_at=self.finest_at)

    @property
    def score_blocks(self) -> int:
        """Number of score blocks: each is one release of sensitivity 1, as each count block is."""
        return 2 if self.nested else 1

    @property
    def counts_length(self) -> int:
        """Entries of the count blocks: cell x target x decision of each."""
        return sum(self.cells(axes) for axes in self.count_blocks) * self.measured.entries

    @property
    def crossed_length(self) -> int:
        """Entries of the score block that is crossed with groups: cell x row x bin."""
        return self.histogram_cells * self.measured.rows * (len(self.coarse_edges) - 1)

    @property
    def histogram_length(self) -> int:
        """Entries of all score blocks."""
        return self.crossed_length + (self.measured.rows * self.bins if self.nested else 0)

    @property
    def tables_length(self) -> int:
        """Entries of all count and score blocks together."""
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
        if not self.features:
            raise FairnessError(
                f"sensitive feature {name!r} is not declared; the charter has none "
                "(ethics.without-groups), so nothing was measured by group"
            )
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
        counts: (cells, targets, decisions) int64, the cells of one count block after another;
            entries may be negative through noise.
        histogram: (histogram cells, rows, bins) int64; entries as above. The bins are those of
            `Layout.coarse_edges`.
        counts_variance: variance of the integer noise on each entry of `counts`; 0 is no noise.
        histogram_variance: the same for each entry of `histogram` and of `fine`.
        fine: (rows, bins) int64 over everyone, where the score blocks are nested; else None.
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
    fine: NDArray[np.int64] | None = None

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
        counts = tables[: layout.counts_length].reshape(-1, *measured.decisions)
        scores = tables[layout.counts_length :]
        _refuse_negative("counts", counts, counts_variance)
        _refuse_negative("histogram", scores, histogram_variance)
        histogram, fine = _score_blocks(layout, scores)
        if counts_variance == 0 and histogram_variance == 0:
            _refuse_unequal(layout, counts, histogram, fine)
        explained = layout.explained
        explanation = Explanation.of(
            whole[layout.tables_length :],
            layout=explained,
            effects=effects_variance,
            flips=flips_variance,
        )
        for block in (counts, histogram, *([] if fine is None else [fine])):
            block.setflags(write=False)
        return cls(
            layout=layout,
            counts=counts,
            histogram=histogram,
            counts_variance=float(counts_variance),
            histogram_variance=float(histogram_variance),
            sites=sites,
            absent=absent,
            explanation=explanation if explained.length else None,
            fine=fine,
        )

    @property
    def count_blocks(self) -> tuple[tuple[tuple[int, ...], NDArray[np.int64]], ...]:
        """Each count block with its features' positions: counts[cell, target, decision]."""
        return _blocks(self.layout, self.counts)

    def contributors(self, group: frozenset[tuple[str, str]]) -> int:
        """Return how many sites have records of a group or intersection, by their declarations."""
        return self.sites - sum(bool(group & lacking) for lacking in self.absent)


def _blocks(
    layout: Layout, counts: NDArray[np.int64]
) -> tuple[tuple[tuple[int, ...], NDArray[np.int64]], ...]:
    lengths = [layout.cells(axes) for axes in layout.count_blocks]
    starts = np.cumsum([0, *lengths])
    return tuple(
        (axes, counts[start : start + length])
        for axes, start, length in zip(layout.count_blocks, starts, lengths, strict=False)
    )


def _score_blocks(
    layout: Layout, scores: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Return the block crossed with groups, and the fine one over everyone where there is one."""
    rows, crossed = layout.measured.rows, layout.crossed_length
    histogram = scores[:crossed].reshape(-1, rows, len(layout.coarse_edges) - 1)
    return histogram, scores[crossed:].reshape(rows, -1) if layout.nested else None


def _refuse_negative(name: str, block: NDArray[np.int64], variance: float) -> None:
    if variance == 0 and (block < 0).any():
        raise FairnessError(
            f"{int((block < 0).sum())} entries of {name} are negative although their noise "
            "variance is given as 0; state the true variance"
        )


def _refuse_unequal(
    layout: Layout,
    counts: NDArray[np.int64],
    histogram: NDArray[np.int64],
    fine: NDArray[np.int64] | None,
) -> None:
    """Refuse blocks without noise that hold different numbers of records, by row of the scores."""
    targets, rows = layout.measured.decisions[0], layout.measured.rows
    everyone = histogram.sum(axis=(0, 2))
    same = fine is None or bool((fine.sum(axis=1) == everyone).all())
    for axes, block in _blocks(layout, counts):
        people = block.sum(axis=2)
        if rows != targets:
            people = people.sum(axis=1, keepdims=True)
        same &= bool((people.sum(axis=0) == everyone).all())
        if set(layout.histogram_axes) <= set(axes):
            dropped = tuple(i for i, axis in enumerate(axes) if axis not in layout.histogram_axes)
            cells = people.reshape(*(layout.shape[axis] for axis in axes), rows).sum(axis=dropped)
            same &= bool((cells.reshape(-1, rows) == histogram.sum(axis=2)).all())
    if not same:
        raise FairnessError(
            "counts and histogram, both without noise, hold different numbers of records; "
            "some site's vector is wrong or uses another layout"
        )
