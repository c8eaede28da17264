"""A per-group metric, for every group at once, with limits at a given critical value.

Means over records of something that depends on label and score, from score histograms.

A record's score is known to its bin, so a mean of f(label, score) lies between the means of the
least and the greatest f over each bin: certified limits without any assumption. The value takes
each bin's middle.

Interval: T(A) = sum over label and bin of (f - A) n has mean 0 at the true mean A and variance
sum (f - A)^2 n + (f - A)' C (f - A), where C is the covariance of the noise (`reconcile`). All A
not rejected are a quadratic in A, as for rates (see `estimate`); the lower limit takes the least
f, the upper the greatest.

Rates of what a swapped word changes, by group.

A counterfactual-swap test of the model, not of the world: Garg et al. (2019), "Counterfactual
Fairness in Text Classification through Robustness" (the counterfactual token fairness gap, here
`swap_shift`). Kusner et al. (2017) ask for a causal counterfactual; a swapped word is none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fedethics.errors import FairnessError
from fedethics.fairness.auc import area_bands, crossed_area_bands
from fedethics.fairness.calibration import calibration_bands
from fedethics.fairness.estimate import Bands, averaged, bounded_mean, f1_of, rate_bands
from fedethics.fairness.explained import SwapSums
from fedethics.fairness.inequality import INDICES, inequality_bands
from fedethics.fairness.metrics import Fraction, find_metric
from fedethics.fairness.partition import BoolArray, FloatArray, Partition
from fedethics.fairness.reconcile import BinNoise


def mean_bands(partition: Partition, metric: str, *, z: float) -> Bands:
    """Return the mean of `metric`, one of the measure's, for each group, arrays of shape (G,)."""
    _, rows, bins = partition.scores.shape
    values = partition.measured.means[metric](partition.bin_edges)
    # Negative entries stay: cutting off the noise's lower half in many bins would bias the mean.
    people = partition.scores.reshape(len(partition.groups), rows * bins)
    total = people.sum(axis=1)
    known = total > 0
    value = np.divide(
        people @ values.middle.ravel(), total, out=np.full_like(total, np.nan), where=known
    ).clip(0.0, find_metric(metric).high)
    low = _limit(people, values.least, partition.score_noise, z, upper=False)
    high = _limit(people, values.greatest, partition.score_noise, z, upper=True)
    return Bands(
        value,
        np.where(known, np.fmin(low, value), -np.inf),
        np.where(known, np.fmax(high, value), np.inf),
    )


def _limit(
    people: FloatArray, values: FloatArray, noise: BinNoise, z: float, *, upper: bool
) -> FloatArray:
    """Return the least or greatest A that T(A) keeps; `values` is f, shape (rows, bins)."""
    f, ones = values.ravel(), np.ones_like(values)
    total, first = people.sum(axis=1), people @ f
    weights = np.maximum(people, 0.0)
    # (f - A)' C (f - A), over all rows.
    of_ones, of_both, of_values = (
        float(noise.product(*pair).sum())
        for pair in ((ones, ones), (values, ones), (values, values))
    )
    zz = z * z
    square = total**2 - zz * (weights.sum(axis=1) + of_ones)
    linear = total * first - zz * (weights @ f + of_both)
    constant = first**2 - zz * (weights @ (f * f) + of_values)
    root = np.sqrt(np.maximum(linear**2 - square * constant, 0.0))
    # Without a positive leading coefficient the noise hides how many there are.
    bounded = square > 0
    end = (linear + root if upper else linear - root) / np.where(bounded, square, 1.0)
    return np.where(bounded, end, np.inf if upper else -np.inf)


class _Entries(NamedTuple):
    """Which entries of a group a rate adds up, and whether they are flips or shifts."""

    flips: bool
    columns: tuple[int, ...]


SWAPS = {
    "flip_rate": _Entries(True, (0, 1)),
    "flip_to_positive_rate": _Entries(True, (0,)),
    "flip_to_negative_rate": _Entries(True, (1,)),
    "swap_shift": _Entries(False, (0, 1)),
    "swap_fall": _Entries(False, (0,)),
    "swap_rise": _Entries(False, (1,)),
}


def swap_bands(partition: Partition, metric: str, *, z: float) -> Bands:
    """Return a rate in `SWAPS` for each group, arrays of shape (G,); its base is all of the group.

    Raises:
        FairnessError: no words were swapped for these groups.
    """
    sums: SwapSums | None = partition.swap
    if sums is None:
        raise FairnessError(
            f"no words were swapped for the groups {', '.join(partition.groups)}; "
            "ethics.explanation.swap of the charter names the features they are swapped for"
        )
    entries = SWAPS[metric]
    block, noise, most = (
        (sums.flips, sums.flips_variance, 1.0)
        if entries.flips
        else (sums.shifts, sums.shifts_variance, sums.most)
    )
    return bounded_mean(
        block[:, list(entries.columns)].sum(axis=1),
        partition.sizes,
        total_noise=noise * len(entries.columns),
        people_noise=partition.size_variance,
        most=most,
        z=z,
        step=0.0 if entries.flips else sums.step,
    )


def group_bands(partition: Partition, metric: str, *, z: float) -> Bands:
    """Return value and limits of a rate for each group, arrays of shape (G,).

    `metric` is a known name of kind `rate`. Limits are those of `Bands`, not
    yet cut to the metric's range. Undefined gives NaN without limits.

    Raises:
        FairnessError: the charter's task measures nothing that the metric follows from.
    """
    measured = partition.measured
    if metric not in SWAPS:
        measured.require(metric)
    if metric in measured.rates:
        return fraction_bands(partition, measured.rates[metric], z=z)
    if metric in measured.averages:
        average = measured.averages[metric]
        parts = [group_bands(partition, part, z=z) for part in average.parts]
        return averaged(parts, independent=average.independent)
    if metric in measured.jaccards:
        return f1_of(fraction_bands(partition, measured.jaccards[metric], z=z))
    if metric in measured.means:
        return mean_bands(partition, metric, z=z)
    if metric in INDICES:
        return inequality_bands(partition, metric, z=z)
    if metric in SWAPS:
        return swap_bands(partition, metric, z=z)
    return _OTHERS[metric](partition, z)


def cut_values(partition: Partition, metric: str, values: FloatArray) -> BoolArray:
    """Return whether noise carried each group's value out of its range, so that it was cut.

    The end of the range is then a figure that nobody measured. Without noise a value at the end is
    exact, and so is a share whose count came out as 0.

    Args:
        partition: the groups.
        metric: a metric of kind `rate`.
        values: its values, shape (G,).
    """
    if not (partition.counts_variance > 0 or partition.histogram_variance > 0):
        return np.zeros(len(values), dtype=bool)
    measured = partition.measured
    if metric in measured.averages:
        parts = measured.averages[metric].parts
        found: BoolArray = np.any([cut_values(partition, one, values) for one in parts], axis=0)
        return found
    fraction = measured.jaccards.get(metric) or measured.rates.get(metric)
    if fraction is not None:
        return (_total(partition, fraction.hits) < 0) | (_total(partition, fraction.misses) < 0)
    if metric == "count":
        return partition.sizes < 0
    known = find_metric(metric)
    cut: BoolArray = (values <= known.low) | (values >= known.high)
    return cut


def _total(partition: Partition, entries: tuple[tuple[int, int], ...]) -> FloatArray:
    summed: FloatArray = np.sum([partition.counts[:, y, yhat] for y, yhat in entries], axis=0)
    return summed


def fraction_bands(partition: Partition, fraction: Fraction, *, z: float) -> Bands:
    """Return a fraction over entries of the decisions for each group, arrays of shape (G,)."""
    return rate_bands(
        _total(partition, fraction.hits),
        _total(partition, fraction.misses),
        hits_noise=partition.counts_variance * len(fraction.hits),
        misses_noise=partition.counts_variance * len(fraction.misses),
        z=z,
    )


def _sizes(partition: Partition, z: float) -> Bands:
    # A head count of these records, not of a population: only noise makes it uncertain.
    value = np.maximum(partition.sizes, 0.0)
    margin = z * np.sqrt(partition.size_variance)
    return Bands(value, value - margin, value + margin)


_OTHERS: dict[str, Callable[[Partition, float], Bands]] = {
    "count": _sizes,
    "roc_auc_score": lambda partition, z: area_bands(partition, z=z),
    "bpsn_auc": lambda partition, z: crossed_area_bands(partition, background="positives", z=z),
    "bnsp_auc": lambda partition, z: crossed_area_bands(partition, background="negatives", z=z),
    "expected_calibration_error": lambda partition, z: calibration_bands(partition, z=z),
}
