"""The three questions put to opened tables: over everyone, by group, over the groups.

Pooled metrics of one round, from the sums of decisions and nothing about groups.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fedethics.errors import FairnessError
from fedethics.fairness.estimate import (
    Bands,
    Estimate,
    GroupEstimate,
    checked_confidence,
    estimated,
    two_sided,
)
from fedethics.fairness.gaps import gap
from fedethics.fairness.layout import Tables
from fedethics.fairness.measured import TWO_CLASSES, Measured
from fedethics.fairness.metrics import Metric, find_metric
from fedethics.fairness.partition import (
    MINIMUM_CELL,
    Partition,
    by_feature,
    everyone,
    suppressed_groups,
    suppression_reason,
)
from fedethics.fairness.rates import cut_values, group_bands


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """An aggregate with the groups that it does not speak for.

    Attributes:
        estimate: value, interval and note.
        suppressed: groups left out because they are small, or complementary to small ones.
        undefined: groups left out because the metric has no value for them.
        shown: the partition that remained.
    """

    estimate: Estimate
    suppressed: tuple[str, ...]
    undefined: tuple[str, ...]
    shown: Partition


def overall(tables: Tables, metric: str, *, confidence: float = 0.95) -> Estimate:
    """Return a rate over all records of all sites.

    Raises:
        FairnessError: unknown metric, or one that compares groups; invalid confidence.
    """
    found = find_metric(metric, kind="rate")
    return pooled(everyone(tables), found, confidence=checked_confidence(confidence))


def pooled(partition: Partition, metric: Metric, *, confidence: float) -> Estimate:
    """Return a rate of the single group of `partition`."""
    bands = group_bands(partition, metric.name, z=two_sided(confidence))
    cut = cut_values(partition, metric.name, bands.value)
    note = _UNDEFINED if math.isnan(bands.value[0]) else ""
    return _estimate(metric, bands, 0, confidence, note, cut=bool(cut[0]))


def by_group(
    tables: Tables,
    metric: str,
    *,
    feature: str,
    confidence: float = 0.95,
    minimum_cell: int = MINIMUM_CELL,
) -> dict[str, GroupEstimate]:
    """Return a rate for every declared group of `feature`, in declared order; none is dropped.

    Each interval has the stated confidence by itself, not jointly with the others.

    Args:
        tables: the opened sums.
        metric: a metric of kind `rate`.
        feature: a sensitive feature, or an intersection such as `sex*age_band`.
        confidence: nominal coverage of each interval.
        minimum_cell: groups with fewer (noisy) records are withheld, see `suppressed_groups`.

    Raises:
        FairnessError: unknown metric or feature, or one of another kind; invalid confidence.
    """
    found = find_metric(metric, kind="rate")
    partition = by_feature(tables, feature)
    z = two_sided(checked_confidence(confidence))
    hidden = suppressed_groups(partition, minimum_cell=minimum_cell)
    bands = group_bands(partition, metric, z=z)
    sizes = group_bands(partition, "count", z=z)
    cut, no_size = (
        cut_values(partition, name, each.value)
        for name, each in ((metric, bands), ("count", sizes))
    )
    result = {}
    for index, group in enumerate(partition.groups):
        if hidden[index]:
            result[group] = _withheld(found, confidence, suppression_reason(minimum_cell))
            continue
        reason = ""
        if math.isnan(bands.value[index]):
            reason = _UNDEFINED if sizes.value[index] > 0 else "no records of this group"
        result[group] = GroupEstimate(
            estimate=_estimate(found, bands, index, confidence, reason, cut=bool(cut[index])),
            size=_estimate(
                find_metric("count"), sizes, index, confidence, cut=bool(no_size[index])
            ),
            suppressed=False,
            reason=reason,
        )
    return result


def aggregate(
    tables: Tables,
    metric: str,
    *,
    feature: str,
    confidence: float = 0.95,
    minimum_cell: int = MINIMUM_CELL,
) -> Estimate:
    """Return a difference, ratio, lowest or highest group over the groups of `feature`.

    Withheld and undefined groups do not enter; the note names them. With fewer than two groups
    left (one, for the lowest or highest) the value is NaN.

    Raises:
        FairnessError: unknown metric or feature, or one of another kind; invalid confidence.
    """
    return compare(
        tables, metric, feature=feature, confidence=confidence, minimum_cell=minimum_cell
    ).estimate


def compare(
    tables: Tables, metric: str, *, feature: str, confidence: float, minimum_cell: int
) -> Comparison:
    """Return `aggregate` with the groups it left out. Raises as `aggregate`."""
    found = find_metric(metric, kind="aggregate")
    partition = by_feature(tables, feature)
    checked_confidence(confidence)
    hidden = suppressed_groups(partition, minimum_cell=minimum_cell)
    shown = partition.kept(~hidden)
    result = gap(shown, found, confidence=confidence)
    suppressed = partition.kept(hidden).groups
    notes = [result.remark]
    if suppressed:
        notes.append(f"left out as too small to show: {', '.join(suppressed)}")
    if result.undefined:
        notes.append(f"left out, no value: {', '.join(result.undefined)}")
    return Comparison(
        estimate=estimated(
            result.value,
            result.low,
            result.high,
            confidence=confidence,
            note="; ".join(filter(None, notes)),
            cut=result.cut,
        ),
        suppressed=suppressed,
        undefined=result.undefined,
        shown=shown,
    )


def not_measured(metric: Metric, *, confidence: float) -> Estimate:
    """Return a rate that the charter's task does not measure: no value, its whole range."""
    return Estimate(
        value=math.nan,
        low=metric.low,
        high=metric.high,
        confidence=confidence,
        note="no value: the task does not measure it",
    )


_UNDEFINED = "no value: the metric's denominator is empty"


def _withheld(metric: Metric, confidence: float, reason: str) -> GroupEstimate:
    # Sensitive: the size goes too, or the reader gets the small count after all.
    estimate, size = (
        Estimate(value=math.nan, low=each.low, high=each.high, confidence=confidence, note=reason)
        for each in (metric, find_metric("count"))
    )
    return GroupEstimate(estimate=estimate, size=size, suppressed=True, reason=reason)


def _estimate(
    metric: Metric,
    bands: Bands,
    index: int,
    confidence: float,
    note: str = "",
    *,
    cut: bool = False,
) -> Estimate:
    return estimated(
        float(bands.value[index]),
        max(metric.low, float(bands.low[index])),
        min(metric.high, float(bands.high[index])),
        confidence=confidence,
        note=note,
        cut=cut,
    )


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
