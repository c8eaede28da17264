"""A per-group metric, for every group at once, with limits at a given critical value."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fedethics.fairness.auc import area_bands, crossed_area_bands
from fedethics.fairness.calibration import calibration_bands
from fedethics.fairness.estimate import Bands, f1_of, halved_sum, rate_bands
from fedethics.fairness.inequality import INDICES, inequality_bands
from fedethics.fairness.metrics import FRACTIONS, JACCARD, Fraction, find_metric
from fedethics.fairness.partition import BoolArray, FloatArray, Partition
from fedethics.fairness.score_means import mean_bands
from fedethics.fairness.swaps import SWAPS, swap_bands


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
        return _fraction(partition, measured.rates[metric], z)
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
    if metric == "balanced_accuracy_score":
        first, second = (cut_values(partition, part, values) for part in _RECALLS)
        return first | second
    fraction = JACCARD if metric == "f1_score" else partition.measured.rates.get(metric)
    if fraction is not None:
        return (_total(partition, fraction.hits) < 0) | (_total(partition, fraction.misses) < 0)
    if metric == "count":
        return partition.sizes < 0
    known = find_metric(metric)
    cut: BoolArray = (values <= known.low) | (values >= known.high)
    return cut


_RECALLS = ("true_positive_rate", "true_negative_rate")


def _total(partition: Partition, entries: tuple[tuple[int, int], ...]) -> FloatArray:
    summed: FloatArray = np.sum([partition.counts[:, y, yhat] for y, yhat in entries], axis=0)
    return summed


def _fraction(partition: Partition, fraction: Fraction, z: float) -> Bands:
    return rate_bands(
        _total(partition, fraction.hits),
        _total(partition, fraction.misses),
        hits_noise=partition.counts_variance * len(fraction.hits),
        misses_noise=partition.counts_variance * len(fraction.misses),
        z=z,
    )


def _balanced_accuracy(partition: Partition, z: float) -> Bands:
    # Positives and negatives are different people: two independent rates.
    return halved_sum(
        _fraction(partition, FRACTIONS["true_positive_rate"], z),
        _fraction(partition, FRACTIONS["true_negative_rate"], z),
    )


def _sizes(partition: Partition, z: float) -> Bands:
    # A head count of these records, not of a population: only noise makes it uncertain.
    value = np.maximum(partition.sizes, 0.0)
    margin = z * np.sqrt(partition.size_variance)
    return Bands(value, value - margin, value + margin)


_OTHERS: dict[str, Callable[[Partition, float], Bands]] = {
    "count": _sizes,
    "balanced_accuracy_score": _balanced_accuracy,
    "f1_score": lambda partition, z: f1_of(_fraction(partition, JACCARD, z)),
    "roc_auc_score": lambda partition, z: area_bands(partition, z=z),
    "bpsn_auc": lambda partition, z: crossed_area_bands(partition, background="positives", z=z),
    "bnsp_auc": lambda partition, z: crossed_area_bands(partition, background="negatives", z=z),
    "expected_calibration_error": lambda partition, z: calibration_bands(partition, z=z),
}
