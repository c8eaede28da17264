"""A per-group metric, for every group at once, with limits at a given critical value."""

from __future__ import annotations

import numpy as np

from fedethics.fairness.auc import area_bands
from fedethics.fairness.intervals import Bands, f1_of, halved_sum, rate_bands
from fedethics.fairness.metrics import FRACTIONS, JACCARD, Fraction
from fedethics.fairness.partition import FloatArray, Partition


def group_bands(partition: Partition, metric: str, *, z: float) -> Bands:
    """Return value and limits of a rate for each group, arrays of shape (G,).

    `metric` is a known name of kind `rate`. Limits are those of `Bands`, not
    yet cut to the metric's range. Undefined gives NaN without limits.
    """
    if metric == "count":
        return _sizes(partition, z)
    if metric == "roc_auc_score":
        return area_bands(partition, z=z)
    if metric == "balanced_accuracy_score":
        # Positives and negatives are different people: two independent rates.
        return halved_sum(
            _fraction(partition, FRACTIONS["true_positive_rate"], z),
            _fraction(partition, FRACTIONS["true_negative_rate"], z),
        )
    if metric == "f1_score":
        return f1_of(_fraction(partition, JACCARD, z))
    return _fraction(partition, FRACTIONS[metric], z)


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


def _sizes(partition: Partition, z: float) -> Bands:
    # A head count of these records, not of a population: only noise makes it uncertain.
    value = np.maximum(partition.sizes, 0.0)
    margin = z * np.sqrt(partition.size_variance)
    return Bands(value, value - margin, value + margin)
