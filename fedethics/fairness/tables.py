"""What was opened: the noised sums over all sites, and how much noise they carry."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedethics.errors import FairnessError
from fedethics.fairness.explained import Explanation
from fedethics.fairness.layout import Layout


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
