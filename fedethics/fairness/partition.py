"""Groups of a feature or of an intersection, added up from cells, with the noise they inherit.

Score histograms are reconciled with the counts of the same groups (`reconcile`).

Small groups are withheld, visibly, together with those that would give them away.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedethics.errors import FairnessError
from fedethics.fairness.explained import SwapSums
from fedethics.fairness.layout import INTERSECTION, Layout, Tables
from fedethics.fairness.measured import TWO_CLASSES, Measured
from fedethics.fairness.reconcile import BinNoise, Observed, reconciled

FloatArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Partition:
    """The records, split into disjoint groups.

    Attributes:
        groups: names, for an intersection joined by `*`.
        shape: groups of each named feature; product = number of groups G.
        counts: (G, targets, decisions).
        histogram: (G, rows, bins), reconciled with all else that was opened of the groups; None
            where the layout does not cross the histogram with every feature asked for.
        counts_variance: noise variance of each entry of `counts`: that of a cell times the number
            of cells in a group, since cells carry independent noise.
        histogram_variance: the same for `histogram`, as it was opened.
        noise: covariance of the noise on a row of `histogram` once it is reconciled; None where
            it is reconciled with nothing, so that each bin has `histogram_variance`.
        edges: of the bins, shape (bins + 1,); None for bins of equal width.
        contributors: how many sites have records of each group, by their own declarations, shape
            (G,); None where that is not known.
        swap: what swapping the feature's word changed; None where it was not swapped.
        measured: what the charter's task counts of a record.
    """

    groups: tuple[str, ...]
    shape: tuple[int, ...]
    counts: FloatArray
    histogram: FloatArray | None
    counts_variance: float
    histogram_variance: float
    contributors: NDArray[np.int64] | None = None
    swap: SwapSums | None = None
    measured: Measured = TWO_CLASSES
    noise: BinNoise | None = None
    edges: FloatArray | None = None

    @property
    def bin_edges(self) -> FloatArray:
        """Edges of the score bins, shape (bins + 1,)."""
        if self.edges is not None:
            return self.edges
        bins = self.scores.shape[2]
        uniform: FloatArray = np.arange(bins + 1) / bins
        return uniform

    @property
    def score_noise(self) -> BinNoise:
        """Covariance of the noise on each row of `scores`."""
        if self.noise is not None:
            return self.noise
        return BinNoise.alone(self.histogram_variance, self.scores.shape[2])

    @property
    def scores(self) -> FloatArray:
        """The score histograms, shape (G, rows, bins).

        Raises:
            FairnessError: they were not collected for these groups.
        """
        if self.histogram is None:
            raise FairnessError(
                f"score histograms were not collected for the groups {', '.join(self.groups)}; "
                "privacy.evaluation.histogram-by of the charter names the features they are for"
            )
        return self.histogram

    @property
    def sizes(self) -> FloatArray:
        """Noisy number of records of each group, shape (G,)."""
        size: FloatArray = self.counts.sum(axis=(1, 2))
        return size

    @property
    def size_variance(self) -> float:
        """Noise variance of each size: that of all its entries."""
        return self.measured.entries * self.counts_variance

    def scaled(self, *, records: float = 1.0, noise: float = 1.0) -> Partition:
        """Return the same rates with `records` times as many people, `noise` times the std."""
        return replace(
            self,
            counts=self.counts * records,
            histogram=None if self.histogram is None else self.histogram * records,
            counts_variance=self.counts_variance * noise**2,
            histogram_variance=self.histogram_variance * noise**2,
            noise=self.noise and self.noise.times(noise**2),
            swap=self.swap and self.swap.scaled(records=records, noise=noise),
        )

    def kept(self, keep: BoolArray) -> Partition:
        """Return the groups where `keep` is true, as one line."""
        names = tuple(name for name, kept in zip(self.groups, keep, strict=True) if kept)
        return replace(
            self,
            groups=names,
            shape=(len(names),),
            counts=self.counts[keep],
            histogram=None if self.histogram is None else self.histogram[keep],
            contributors=None if self.contributors is None else self.contributors[keep],
            swap=self.swap and self.swap.kept(keep),
        )

    def together(self) -> Partition:
        """Return all groups as one, with the noise of all; without score histograms."""
        return Partition(
            groups=("all",),
            shape=(1,),
            counts=self.counts.sum(axis=0, keepdims=True),
            histogram=None,
            counts_variance=self.counts_variance * len(self.groups),
            histogram_variance=0.0,
            swap=self.swap and self.swap.together(),
            measured=self.measured,
        )


def everyone(tables: Tables) -> Partition:
    """Return the partition with a single group that holds all records."""
    return _summed(tables, (), ("everyone",), np.array([tables.sites]))


def by_feature(tables: Tables, feature: str) -> Partition:
    """Return the groups of `feature`, which may be an intersection such as `sex*age_band`.

    Raises:
        FairnessError: a feature that was not declared, or one named twice.
    """
    names = tuple(feature.split(INTERSECTION))
    if len(set(names)) != len(names):
        raise FairnessError(f"intersection {feature!r} names a feature twice")
    features = tuple(tables.layout.feature(name) for name in names)
    combinations = list(product(*(each.groups for each in features)))
    groups = tuple(INTERSECTION.join(words) for words in combinations)
    contributors = [
        tables.contributors(frozenset(zip(names, words, strict=True))) for words in combinations
    ]
    axes = tuple(tables.layout.features.index(each) for each in features)
    found = _summed(tables, axes, groups, np.array(contributors))
    found = replace(found, measured=found.measured.between(names))
    explanation = tables.explanation
    return replace(found, swap=explanation.swaps.get(feature) if explanation else None)


def _summed(
    tables: Tables, axes: tuple[int, ...], groups: tuple[str, ...], contributors: NDArray[np.int64]
) -> Partition:
    layout = tables.layout
    counts, counts_variance = _counts(tables, axes, groups)
    partition = Partition(
        groups=groups,
        shape=tuple(layout.shape[axis] for axis in axes) or (1,),
        counts=counts,
        histogram=None,
        counts_variance=counts_variance,
        histogram_variance=0.0,
        contributors=contributors,
        measured=layout.measured,
    )
    if not set(axes) <= set(layout.histogram_axes):
        return partition
    crossed = _gather(tables.histogram, layout, layout.histogram_axes, axes)
    crossed_variance = tables.histogram_variance * (layout.histogram_cells // len(groups))
    return _with_scores(tables, partition, crossed, crossed_variance)


def _counts(
    tables: Tables, axes: tuple[int, ...], groups: tuple[str, ...]
) -> tuple[FloatArray, float]:
    """Return the groups' counts, shape (G, targets, decisions), and the variance of an entry.

    Blocks that hold all features asked for count the same people: their sums are averaged, each
    weighed by its noise.

    Raises:
        FairnessError: no count block is crossed with all of these features.
    """
    layout = tables.layout
    found = [
        (_gather(block, layout, have, axes), layout.cells(have) // len(groups))
        for have, block in tables.count_blocks
        if set(axes) <= set(have)
    ]
    if not found:
        names = INTERSECTION.join(layout.features[axis].name for axis in axes)
        raise FairnessError(
            f"counts were not collected for the intersection {names!r}; under "
            'privacy.evaluation.tables = "nested" they are for each feature, and for each '
            "intersection that an objective of the charter names"
        )
    if len(found) == 1 or tables.counts_variance == 0:
        summed, cells = found[0]
        return summed, tables.counts_variance * cells
    precision = sum(1.0 / cells for _, cells in found)
    averaged: FloatArray = np.sum([summed / cells for summed, cells in found], axis=0) / precision
    return averaged, tables.counts_variance / precision


def _with_scores(
    tables: Tables, partition: Partition, crossed: FloatArray, crossed_variance: float
) -> Partition:
    """Return the partition with the score histogram that agrees best with all blocks.

    Args:
        tables: the opened sums.
        partition: the groups with their counts.
        crossed: (G, rows, coarse bins), the groups' sums of the block crossed with groups.
        crossed_variance: noise variance of each of them.
    """
    layout = tables.layout
    coarse = np.array(layout.coarse_edges)
    edges, histogram, variance = coarse, crossed, crossed_variance
    observed: list[Observed] = []
    if tables.fine is not None and partition.shape == (1,) and partition.groups == ("everyone",):
        edges = np.array(layout.fine_edges)
        histogram, variance = tables.fine[None].astype(np.float64), tables.histogram_variance
        cuts = np.searchsorted(edges, coarse)
        observed = [
            Observed(int(start), int(stop), crossed[:, :, place], crossed_variance)
            for place, (start, stop) in enumerate(pairwise(cuts))
        ]
    observed += _counted(partition, edges, layout.threshold)
    found, noise = reconciled(histogram, variance, observed)
    return replace(
        partition, histogram=found, histogram_variance=variance, noise=noise, edges=edges
    )


def _counted(partition: Partition, edges: FloatArray, threshold: float) -> list[Observed]:
    """Return what the counts say of the histogram: people of each row, by decision where it can."""
    counts, variance = partition.counts, partition.counts_variance
    (targets, decisions), rows = partition.measured.decisions, partition.measured.rows
    bins = len(edges) - 1
    if partition.measured.thresholded and threshold in edges:
        cut = int(np.searchsorted(edges, threshold))
        sides = ((0, cut, counts[:, :, 0]), (cut, bins, counts[:, :, 1]))
        return [Observed(*side, variance) for side in sides if side[0] < side[1]]
    people = counts.sum(axis=2)
    if rows == targets:
        return [Observed(0, bins, people, variance * decisions)]
    return [Observed(0, bins, people.sum(axis=1, keepdims=True), variance * targets * decisions)]


def _gather(
    block: NDArray[np.int64], layout: Layout, have: tuple[int, ...], axes: tuple[int, ...]
) -> FloatArray:
    """Sum a block's cells over the features of `have` that are not asked for, in asked order.

    Returns (groups, ...) with the groups of all features asked for in one line.
    """
    cube = block.reshape(*(layout.shape[axis] for axis in have), *block.shape[1:])
    dropped = tuple(place for place, axis in enumerate(have) if axis not in axes)
    # Axes left after the sum keep their declared order; put them in the order asked.
    order = tuple(sorted(axes).index(axis) for axis in axes)
    summed: FloatArray = cube.sum(axis=dropped).astype(np.float64)
    turned = summed.transpose(*order, len(axes), len(axes) + 1)
    return turned.reshape(-1, *block.shape[1:])


MINIMUM_CELL = 11
# A sum over two sites is, to either of them, the other's own figure under noise.
MINIMUM_SITES = 3


def withheld_groups(
    groups: tuple[str, ...],
    counts: FloatArray,
    *,
    variance: float,
    contributors: NDArray[np.int64],
    minimum_cell: int,
) -> BoolArray:
    """Return which groups of one feature to withhold, by `suppressed_groups`, shape (G,).

    Args:
        groups: their names.
        counts: noisy numbers of records, shape (G, rows, columns); their sum is a group's size.
        variance: of the noise of one count.
        contributors: sites that contribute to each group, shape (G,).
        minimum_cell: least number of records shown.
    """
    partition = Partition(
        groups=groups,
        shape=(len(groups),),
        counts=counts,
        histogram=None,
        counts_variance=variance,
        histogram_variance=0.0,
        contributors=contributors,
    )
    return suppressed_groups(partition, minimum_cell=minimum_cell)


def suppressed_groups(partition: Partition, *, minimum_cell: int) -> BoolArray:
    """Return which groups to withhold, shape (G,).

    Guarantee: along every feature of the partition, the withheld groups of a line are at least two
    and hold at least `minimum_cell` records together, unless the whole line is withheld; so the
    line's total less the shown groups gives no small group away. Without noise an empty group is
    not withheld: it holds nobody, and its emptiness must be seen. A group to which fewer than 3
    sites contribute, by the declarations in the roster, is withheld whatever its size.

    The number 11 is borrowed from the cell size policy of the US Centers for Medicare and Medicaid
    Services. This is not that policy: it keeps every cell of 1 to 10 from display, and all that a
    cell of 1 to 10 follows from, percentages too; here whole groups are withheld, and a shown group
    may have a (noisy) cell of 3. Complementary suppression as in Cox (1980), JASA 75:377. Both act
    on what reports show. The protection of the opened sums themselves is their noise.

    Args:
        partition: the groups, with noisy sizes.
        minimum_cell: least number of records shown; 0 turns suppression off.

    Raises:
        FairnessError: a negative minimum.
    """
    if minimum_cell < 0:
        raise FairnessError(f"minimum cell {minimum_cell!r} must not be negative")
    sizes = partition.sizes.reshape(partition.shape)
    empty = (sizes == 0) & (partition.size_variance == 0)
    hidden: BoolArray = (sizes < minimum_cell) & ~empty
    if minimum_cell and partition.contributors is not None:
        hidden |= partition.contributors.reshape(partition.shape) < MINIMUM_SITES
    changed = bool(hidden.any())
    while changed:
        changed = False
        for axis in range(sizes.ndim):
            size = np.moveaxis(sizes, axis, -1)
            hide, none = np.moveaxis(hidden, axis, -1), np.moveaxis(empty, axis, -1)
            for line in np.ndindex(size.shape[:-1]):
                changed |= _complete(size[line], hide[line], none[line], minimum_cell)
    return hidden.reshape(-1)


def _complete(sizes: FloatArray, hidden: BoolArray, empty: BoolArray, minimum_cell: int) -> bool:
    """Hide further groups of one line, in place, until its hidden sum reveals nothing small."""
    changed = False
    while hidden.any() and not (hidden | empty).all():
        if hidden.sum() >= 2 and sizes[hidden].sum() >= minimum_cell:
            break
        hidden[np.where(hidden | empty, np.inf, sizes).argmin()] = True
        changed = True
    return changed


def suppression_reason(minimum_cell: int) -> str:
    """Return the one reason given for every withheld group, small or complementary."""
    # Sensitive: two different reasons would tell which of the withheld groups is the small one.
    return (
        f"withheld: fewer than {minimum_cell} records or {MINIMUM_SITES} sites, or needed so that "
        "such a group cannot be found by subtraction"
    )
