"""Area under the ROC curve from score histograms: certified by bins, noise-aware in its interval.

Two records in one bin are in an unknown order, so the exact area lies between the one with all
such pairs wrong and the one with all right: certified limits without any assumption. The value
counts them half, as `roc_auc_score` counts ties.

Interval: T(A) = sum over (positive in bin b, negative in bin c) of (order(b, c) - A) has mean 0 at
the true A and, being bilinear in independent noises, stays unbiased under noise. Its variance has
two parts. Noise: row' C row + column' C column over the noisy rows and columns of T, where C is the
covariance of the noise that reconciling left (`reconcile`); each of the two counts the product of
both noises, so that tr(C M C M') is taken off once, M the matrix of order less A.
Sampling: the same squares weighted by the people in each bin (DeLong et al. 1988),
but at least that of Hanley and McNeil (1982) as Newcombe (2006, Stat. Med. 25:559, method 5) uses
it, since the former vanishes at areas near 1. All A not rejected, for the lower order with the
lower limit and the upper order with the upper, form the interval.

Subgroup areas under the ROC curve (Borkan et al. 2019, arXiv 1903.04561, section 3).

BPSN: positives of the background against negatives of the subgroup; low where the model scores the
subgroup's negatives too high. BNSP: negatives of the background against positives of the subgroup;
low where it scores the subgroup's positives too low. The background is every other group shown.
The area within the subgroup alone is `roc_auc_score` by group.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from fedethics.fairness.estimate import Bands
from fedethics.fairness.partition import BoolArray, FloatArray, Partition
from fedethics.fairness.reconcile import BinNoise

# Beyond [0, 1] too, so that a limit that noise pushes there is not cut off (see Bands).
_GRID = np.linspace(-1.0, 2.0, 6001)
_STEP = 1.0 / 2000.0


class _Order(NamedTuple):
    """For one rule on ties: what lies below each bin's positives and above its negatives."""

    below: FloatArray  # (G, bins) negatives that a positive of this bin outranks
    above: FloatArray  # (G, bins) positives that outrank a negative of this bin
    pairs_won: FloatArray  # (G,)


class BinnedAreas(NamedTuple):
    """Areas of each group, shape (G,), with limits from the bins alone; NaN where undefined."""

    value: FloatArray
    bins_low: FloatArray
    bins_high: FloatArray


def binned_areas(partition: Partition) -> BinnedAreas:
    """Return each group's area with the limits that its bins certify (noise and chance aside)."""
    pairs = _pairs(partition)
    low, middle, high = (
        np.divide(
            _order(partition, tie).pairs_won,
            pairs,
            out=np.full_like(pairs, np.nan),
            where=pairs > 0,
        )
        for tie in (0.0, 0.5, 1.0)
    )
    return BinnedAreas(*(np.clip(area, 0.0, 1.0) for area in (middle, low, high)))


def area_bands(partition: Partition, *, z: float) -> Bands:
    """Return each group's area with an interval for chance, noise and bins together.

    A group without positives or without negatives gives NaN without limits.
    """
    areas = binned_areas(partition)
    low, high = np.full_like(areas.value, -np.inf), np.full_like(areas.value, np.inf)
    for group in np.flatnonzero(~np.isnan(areas.value)):
        one = partition.kept(np.arange(len(low)) == group)
        lower, upper = (_GRID[_not_rejected(one, tie, z)] for tie in (0.0, 1.0))
        # The grid's own step is given away on the safe side.
        low[group] = min(lower.min(initial=np.inf) - _STEP, areas.bins_low[group])
        high[group] = max(upper.max(initial=-np.inf) + _STEP, areas.bins_high[group])
    low[low <= _GRID[0]], high[high >= _GRID[-1]] = -np.inf, np.inf
    return Bands(areas.value, low, high)


def _pairs(partition: Partition) -> FloatArray:
    totals = partition.scores.sum(axis=2)
    pairs: FloatArray = np.maximum(totals[:, 0], 0.0) * np.maximum(totals[:, 1], 0.0)
    return pairs


def _order(partition: Partition, tie: float) -> _Order:
    negatives, positives = partition.scores[:, 0], partition.scores[:, 1]
    below = np.cumsum(negatives, axis=1) - (1.0 - tie) * negatives
    from_here = np.cumsum(positives[:, ::-1], axis=1)[:, ::-1]
    above = from_here - (1.0 - tie) * positives
    return _Order(below, above, (positives * below).sum(axis=1))


def _not_rejected(one: Partition, tie: float, z: float) -> BoolArray:
    """Return which areas on the grid the test of a single group's T(A) keeps."""
    order = _order(one, tie)
    below, above = one.scores[0]
    sides = ((order.below[0], above, below.sum()), (order.above[0], below, above.sum()))
    noise, placements = np.zeros_like(_GRID), np.zeros_like(_GRID)
    for won, people, total in sides:
        noise += _noise(won, one.score_noise, total)
        placements += _squares(won, people, total)
    pairs = below.sum() * above.sum()
    sampling = np.maximum(pairs**2 * _least_sampling_variance(one), placements)
    both = _of_both_noises(one.score_noise, tie)
    variance = sampling + np.maximum(noise - both, both)
    kept: BoolArray = (order.pairs_won[0] - _GRID * pairs) ** 2 <= z * z * variance
    return kept


def _squares(won: FloatArray, weights: FloatArray, total: float) -> FloatArray:
    """Return the sum over bins of weights * (won - A total)^2, for every A on the grid."""
    a = _GRID * total
    squares: FloatArray = weights @ (won * won) - 2.0 * a * (weights @ won) + a * a * weights.sum()
    return squares


def _noise(won: FloatArray, noise: BinNoise, total: float) -> FloatArray:
    """Return x' C x for x = won - A total, for every A on the grid."""
    ones = np.ones_like(won)
    return _parabola(
        float(noise.product(won, won)),
        total * float(noise.product(won, ones)),
        total**2 * float(noise.product(ones, ones)),
    )


def _of_both_noises(noise: BinNoise, tie: float) -> FloatArray:
    """Return tr(C M C M') for M = order - A, for every A on the grid.

    With C = v I - D' D it is v^2 |M|^2 - v |D M|^2 - v |M D'|^2 + |D M D'|^2.
    """
    v, known = noise.variance, noise.known
    bins = known.shape[1]
    behind = np.cumsum(known, axis=1) - (1.0 - tie) * known  # M D' for M = order, transposed
    ahead = np.cumsum(known[:, ::-1], axis=1)[:, ::-1] - (1.0 - tie) * known  # D M
    whole = known.sum(axis=1)
    inner = (ahead[:, None, :] * known[None]).sum(axis=2)  # D M D'
    won = bins * (bins - 1) / 2.0
    total = _parabola(won + tie * tie * bins, won + tie * bins, float(bins * bins)) * v * v
    for one in (behind, ahead):
        square, flat = float((one**2).sum()), float((whole * one.sum(axis=1)).sum())
        total -= v * _parabola(square, flat, bins * float((whole**2).sum()))
    flat = float((inner * whole[:, None] * whole[None]).sum())
    total += _parabola(float((inner**2).sum()), flat, float((whole**2).sum()) ** 2)
    return np.maximum(total, 0.0)


def _parabola(constant: float, linear: float, square: float) -> FloatArray:
    """Return constant - 2 A linear + A^2 square for every A on the grid."""
    found: FloatArray = constant - 2.0 * linear * _GRID + square * _GRID * _GRID
    return found


def _least_sampling_variance(one: Partition) -> FloatArray:
    """Return Hanley and McNeil's variance on the grid, both classes at their mean size."""
    # The counts block adds up few entries, so its class totals carry far less noise than the
    # histogram's. One record is the least that a defined area can rest on.
    totals = np.maximum(one.counts[0].sum(axis=1), 1.0)
    a = np.clip(_GRID, 0.0, 1.0)
    spread = 1.0 + (totals.mean() - 1.0) * ((1.0 - a) / (2.0 - a) + a / (1.0 + a))
    variance: FloatArray = a * (1.0 - a) * spread / totals.prod()
    return variance


def crossed_area_bands(
    partition: Partition, *, background: Literal["positives", "negatives"], z: float
) -> Bands:
    """Return each group's BPSN (`background="positives"`) or BNSP area, arrays of shape (G,).

    Undefined, as for a single group, gives NaN without limits.
    """
    label = 1 if background == "positives" else 0
    groups = len(partition.groups)
    crossed = replace(
        partition,
        counts=_with_background(partition.counts, label),
        histogram=_with_background(partition.scores, label),
        # One side adds up the noise of all other groups; taking it for both overstates a little.
        noise=partition.score_noise.times(max(groups - 1, 1)),
    )
    return area_bands(crossed, z=z)


def _with_background(block: FloatArray, label: int) -> FloatArray:
    """Return the block with the other groups' sums where y is `label`."""
    mixed = np.array(block, copy=True)
    mixed[:, label] = block[:, label].sum(axis=0) - block[:, label]
    return mixed
