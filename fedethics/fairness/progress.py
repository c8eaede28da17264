"""Pooled metrics of one round, from the sums of decisions and nothing about groups."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fedethics.errors import FairnessError
from fedethics.fairness.estimate import Estimate, checked_confidence
from fedethics.fairness.measure import not_measured, pooled
from fedethics.fairness.measured import TWO_CLASSES, Measured
from fedethics.fairness.metrics import find_metric
from fedethics.fairness.partition import Partition


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgressMetrics:
    """How the shared model does in one round, over all records of all sites.

    A rate that the charter's task does not measure has no value, and its whole range as interval.
    """

    accuracy: Estimate
    tpr: Estimate
    fpr: Estimate
    n: Estimate


def progress(
    vector: ArrayLike,
    *,
    variance: float,
    confidence: float = 0.95,
    measured: Measured = TWO_CLASSES,
) -> ProgressMetrics:
    """Return a round's metrics from the opened progress vector, counts[target, decision], flat.

    Args:
        vector: the sum over sites, integers, possibly negative through noise.
        variance: variance of the noise on each entry.
        confidence: nominal coverage of each interval.
        measured: what the charter's task counts of a record.

    Raises:
        FairnessError: wrong shape or type, invalid variance or confidence, or, with variance 0, a
            negative count.
    """
    flat = np.asarray(vector)
    if flat.shape != (measured.entries,) or not np.issubdtype(flat.dtype, np.integer):
        raise FairnessError(
            f"progress vector has shape {flat.shape} and type {flat.dtype}, expected "
            f"({measured.entries},) integers"
        )
    if not math.isfinite(variance) or variance < 0:
        raise FairnessError(f"noise variance {variance!r} must be finite and not negative")
    if variance == 0 and (flat < 0).any():
        raise FairnessError("progress counts are negative although their noise is given as 0")
    checked_confidence(confidence)
    group = Partition(
        groups=("everyone",),
        shape=(1,),
        counts=flat.astype(np.float64).reshape(1, *measured.decisions),
        histogram=np.zeros((1, measured.rows, 1)),
        counts_variance=float(variance),
        histogram_variance=0.0,
        measured=measured,
    )
    accuracy, tpr, fpr, n = (
        pooled(group, find_metric(name), confidence=confidence)
        if name in measured.metrics
        else not_measured(find_metric(name), confidence=confidence)
        for name in ("accuracy_score", "true_positive_rate", "false_positive_rate", "count")
    )
    return ProgressMetrics(accuracy=accuracy, tpr=tpr, fpr=fpr, n=n)
