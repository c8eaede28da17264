"""Where score bins are cut: a public function of the charter, the same numbers on every machine.

Bins of equal width are cut at k / bins. Bins that are finest around a score c are cut where the
logit is logit(c) + logit(k / bins): of the odds, those of equal width times c / (1 - c). So around
c = 1/2 they have equal width, and around any c as many of them lie below it as above. Cuts near c
are c (1 - c) * 4 / bins apart, and further out ever wider in the logit. Where scores crowd around
c, more bins hold them, and the area under the curve is certified more narrowly (docs/fairness.md).
"""

from __future__ import annotations

COARSE_BINS = 8


def fine_edges(bins: int, *, threshold: float, finest_at: float | None = None) -> tuple[float, ...]:
    """Return the cuts from 0 to 1, `bins` + 1 of them, rising.

    Guarantee: only sums, products and quotients, which IEEE 754 rounds alike everywhere. With
    `finest_at` the threshold is a cut: the inner cut nearest to it is moved there. With equal
    widths it is a cut if it is a multiple of 1 / bins, and nothing is moved.

    Args:
        bins: how many, at least 2.
        threshold: at and above which the decision is positive, in (0, 1).
        finest_at: score in (0, 1) around which bins are finest; None for equal widths.
    """
    if finest_at is None:
        return tuple(number / bins for number in range(bins + 1))
    edges = [
        finest_at * number / (finest_at * number + (1.0 - finest_at) * (bins - number))
        for number in range(bins + 1)
    ]
    nearest = min(range(1, bins), key=lambda number: abs(edges[number] - threshold))
    edges[nearest] = threshold
    return tuple(edges)


def coarse_edges(
    bins: int, *, threshold: float, finest_at: float | None = None
) -> tuple[float, ...]:
    """Return every (bins / 8)-th of the fine cuts, and the threshold.

    Guarantee: they are among the fine cuts wherever the threshold is, so that a coarse bin is a
    sum of fine ones, and a side of the threshold a sum of coarse ones.

    Args:
        bins: fine ones, a multiple of 8.
        threshold: as for `fine_edges`.
        finest_at: as for `fine_edges`.
    """
    if finest_at is None:
        eighths = fine_edges(COARSE_BINS, threshold=threshold)
    else:
        fine = fine_edges(bins, threshold=threshold, finest_at=finest_at)
        eighths = fine[:: bins // COARSE_BINS]
    return tuple(sorted({*eighths, float(threshold)}))
