"""A per-group metric, for every group at once, with limits at a given critical value."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fedethics.fairness.auc import area_bands
from fedethics.fairness.calibration import calibration_bands
from fedethics.fairness.inequality import INDICES, inequality_bands
from fedethics.fairness.intervals import Bands, f1_of, halved_sum, rate_bands
from fedethics.fairness.metrics import FRACTIONS, JACCARD, Fraction
from fedethics.fairness.partition import FloatArray, Partition
from fedethics.fairness.score_means import MEANS, mean_bands
from fedethics.fairness.subgroup_auc import crossed_area_bands
from fedethics.fairness.swaps import SWAPS, swap_bands


def group_bands(partition: Partition, metric: str, *, z: float) -> Bands:
    """Return value and limits of a rate for each group, arrays of shape (G,).

    `metric` is a known name of kind `rate`. Limits are those of `Bands`, not
    yet cut to the metric's range. Undefined gives NaN without limits.
    """
    if metric in FRACTIONS:
        return _fraction(partition, FRACTIONS[metric], z)
    if metric in MEANS:
        return mean_bands(partition, metric, z=z)
    if metric in INDICES:
        return inequality_bands(partition, metric, z=z)
    if metric in SWAPS:
        return swap_bands(partition, metric, z=z)
    return _OTHERS[metric](partition, z)


def _fraction(partition: Partition, fraction: Fraction, z: float) -> Bands:
    def total(entries: tuple[tuple[int, int], ...]) -> FloatArray:
        summed: FloatArray = np.sum([partition.counts[:, y, yhat] for y, yhat in entries], axis=0)
        return summed

    return rate_bands(
        total(fraction.hits),
        total(fraction.misses),
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
