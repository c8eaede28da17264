"""Groups of a feature or of an intersection, added up from cells, with the noise they inherit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedethics.errors import FairnessError
from fedethics.fairness.layout import INTERSECTION
from fedethics.fairness.tables import Tables

FloatArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Partition:
    """The records, split into disjoint groups.

    Attributes:
        groups: names, for an intersection joined by `*`.
        shape: groups of each named feature; product = number of groups G.
        counts: (G, 2, 2), [group, y, yhat].
        histogram: (G, 2, bins), [group, y, bin].
        counts_variance: noise variance of each entry of `counts`: that of a cell times the number
            of cells in a group, since cells carry independent noise.
        histogram_variance: the same for `histogram`.
    """

    groups: tuple[str, ...]
    shape: tuple[int, ...]
    counts: FloatArray
    histogram: FloatArray
    counts_variance: float
    histogram_variance: float

    @property
    def sizes(self) -> FloatArray:
        """Noisy number of records of each group, shape (G,)."""
        size: FloatArray = self.counts.sum(axis=(1, 2))
        return size

    @property
    def size_variance(self) -> float:
        """Noise variance of each size: four entries."""
        return 4.0 * self.counts_variance

    def scaled(self, *, records: float = 1.0, noise: float = 1.0) -> Partition:
        """Return the same rates with `records` times as many people, `noise` times the std."""
        return replace(
            self,
            counts=self.counts * records,
            histogram=self.histogram * records,
            counts_variance=self.counts_variance * noise**2,
            histogram_variance=self.histogram_variance * noise**2,
        )

    def kept(self, keep: BoolArray) -> Partition:
        """Return the groups where `keep` is true, as one line."""
        names = tuple(name for name, kept in zip(self.groups, keep, strict=True) if kept)
        return replace(
            self,
            groups=names,
            shape=(len(names),),
            counts=self.counts[keep],
            histogram=self.histogram[keep],
        )


def everyone(tables: Tables) -> Partition:
    """Return the partition with a single group that holds all records."""
    return _summed(tables, (), ("everyone",))


def by_feature(tables: Tables, feature: str) -> Partition:
    """Return the groups of `feature`, which may be an intersection such as `sex*age_band`.

    Raises:
        FairnessError: a feature that was not declared, or one named twice.
    """
    names = tuple(feature.split(INTERSECTION))
    if len(set(names)) != len(names):
        raise FairnessError(f"intersection {feature!r} names a feature twice")
    features = tuple(tables.layout.feature(name) for name in names)
    groups: tuple[str, ...] = ("",)
    for each in features:
        groups = tuple(
            f"{left}{INTERSECTION}{right}" if left else right
            for left in groups
            for right in each.groups
        )
    return _summed(tables, tuple(tables.layout.features.index(each) for each in features), groups)


def _summed(tables: Tables, axes: tuple[int, ...], groups: tuple[str, ...]) -> Partition:
    layout = tables.layout
    dropped = tuple(axis for axis in range(len(layout.shape)) if axis not in axes)
    # Axes left after the sum keep their declared order; put them in the order asked.
    order = tuple(sorted(axes).index(axis) for axis in axes)

    def gather(block: NDArray[np.int64]) -> FloatArray:
        cube = block.reshape(*layout.shape, *block.shape[1:]).sum(axis=dropped)
        cube = cube.transpose(*order, len(axes), len(axes) + 1)
        gathered: FloatArray = cube.reshape(len(groups), *block.shape[1:]).astype(np.float64)
        return gathered

    cells = layout.num_cells // len(groups)
    return Partition(
        groups=groups,
        shape=tuple(layout.shape[axis] for axis in axes) or (1,),
        counts=gather(tables.counts),
        histogram=gather(tables.histogram),
        counts_variance=tables.counts_variance * cells,
        histogram_variance=tables.histogram_variance * cells,
    )
