"""ROC curves from summed score histograms."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedethics.errors import FairnessError
from fedethics.fairness.auc import binned_areas
from fedethics.fairness.estimate import Estimate, checked_confidence
from fedethics.fairness.layout import Tables
from fedethics.fairness.measure import pooled
from fedethics.fairness.metrics import find_metric
from fedethics.fairness.partition import (
    MINIMUM_CELL,
    FloatArray,
    Partition,
    by_feature,
    everyone,
    suppressed_groups,
    suppression_reason,
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RocCurve:
    """False against true positive rates at every bin edge, from the highest score down.

    Attributes:
        fpr: (bins + 1,) rising from 0 to 1; empty when withheld or undefined.
        tpr: the same for the true positive rate.
        auc: area with an interval for chance, noise and bins together.
        auc_bins_low: least area that the bins allow, chance and noise aside.
        auc_bins_high: greatest area that the bins allow.
    """

    fpr: NDArray[np.float64]
    tpr: NDArray[np.float64]
    auc: Estimate
    auc_bins_low: float
    auc_bins_high: float


def roc(
    tables: Tables,
    *,
    feature: str | None = None,
    group: str | None = None,
    confidence: float = 0.95,
    minimum_cell: int = MINIMUM_CELL,
) -> RocCurve:
    """Return the curve over everyone, or over one group of a feature or intersection.

    Without noise its points are exact at the bin edges. With noise each cumulative sum is first
    made monotone by least squares (isotonic regression), which is post-processing and costs
    nothing.

    Raises:
        FairnessError: unknown feature or group, a group without its feature, or the reverse.
    """
    checked_confidence(confidence)
    partition, withheld = _one_group(tables, feature, group, minimum_cell)
    areas = binned_areas(partition)
    auc = pooled(partition, find_metric("roc_auc_score"), confidence=confidence)
    fpr, tpr = (_cumulative(partition.scores[0, label]) for label in (0, 1))
    low, high = float(areas.bins_low[0]), float(areas.bins_high[0])
    if withheld:
        note = suppression_reason(minimum_cell)
        auc = replace(auc, value=math.nan, low=0.0, high=1.0, note=note, cut=False)
    if not auc.known or not fpr.size or not tpr.size:
        fpr = tpr = np.empty(0)
        low, high = (math.nan, math.nan) if withheld else (low, high)
    return RocCurve(fpr=fpr, tpr=tpr, auc=auc, auc_bins_low=low, auc_bins_high=high)


def _one_group(
    tables: Tables, feature: str | None, group: str | None, minimum_cell: int
) -> tuple[Partition, bool]:
    if (feature is None) != (group is None):
        raise FairnessError(f"feature {feature!r} and group {group!r}: give both, or neither")
    if feature is None or group is None:
        return everyone(tables), False
    partition = by_feature(tables, feature)
    if group not in partition.groups:
        raise FairnessError(
            f"{group!r} is not a group of {feature!r}; declared: {', '.join(partition.groups)}"
        )
    chosen = np.array([name == group for name in partition.groups])
    hidden = suppressed_groups(partition, minimum_cell=minimum_cell)
    return partition.kept(chosen), bool(hidden[chosen][0])


def _cumulative(histogram: FloatArray) -> FloatArray:
    """Return the share at or above each edge, from the top; empty if nobody is there."""
    from scipy.optimize import isotonic_regression  # here: it takes half a second to import

    total = histogram.sum()
    if total <= 0:
        return np.empty(0)
    rising = np.concatenate([[0.0], np.cumsum(histogram[::-1]) / total])
    fitted: FloatArray = np.clip(isotonic_regression(rising).x, 0.0, 1.0)
    fitted[0], fitted[-1] = 0.0, 1.0
    return fitted
