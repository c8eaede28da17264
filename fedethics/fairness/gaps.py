"""Over the groups of a feature: largest difference, lowest ratio, lowest and highest group.

The largest of several noisy differences overstates the true one, and one of many intervals misses
more often than 1 in 20. Both limits allow for it. Write theta for the true largest difference. The
pair that attains it is fixed, if unknown, so its own upper limit is at or above theta as often as
promised, and the greatest upper limit is higher still: no correction needed. A lower limit is wrong
when any pair's exceeds theta, so lower limits use the critical value for all pairs at once
(Tukey-Kramer); with two groups that is no change. Ratios are treated so on the log scale. For the
lowest group, its own lower limit serves uncorrected, and upper limits hold for all groups at once
(Sidak).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from fedethics.fairness.estimate import Bands, all_pairs, differences, each_of, ratios, two_sided
from fedethics.fairness.inequality import between_groups
from fedethics.fairness.metrics import Combine, Metric, find_metric
from fedethics.fairness.partition import Partition
from fedethics.fairness.rates import cut_values, group_bands


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """An aggregate over groups, and what was behind it.

    Attributes:
        value: the aggregate; NaN when too few groups have a defined rate.
        low: lower limit.
        high: upper limit.
        undefined: groups for which some rate has no value.
        remark: which groups are lowest and highest, or why there is no value.
        compared: whether enough groups had the rate; a ratio may still be 0 / 0.
        cut: a group's rate that it rests on was cut at the end of its range, see `cut_values`;
            the value is no estimate, the limits stand.
    """

    value: float
    low: float
    high: float
    undefined: tuple[str, ...]
    remark: str
    compared: bool = True
    cut: bool = False


def gap(partition: Partition, metric: Metric, *, confidence: float) -> Gap:
    """Return the aggregate `metric` over all groups of `partition`.

    Over several rates (equalized odds) the worst counts, and it is undefined if one of them is.
    Only a ratio 0 / 0 of a later rate (no false positive in any group) is passed over, as Fairlearn
    does; it says nothing, so the lower limit is 0.
    """
    if metric.combine == "between":
        return _between(partition, metric, confidence)
    if metric.combine == "pooled":
        return _pooled(partition, metric, confidence)
    combine = metric.combine or "difference"
    bases = partition.measured.bases(metric)
    parts = [_over_groups(partition, base, combine, confidence, share=len(bases)) for base in bases]
    undefined = {group for part in parts for group in part.undefined}
    names = tuple(group for group in partition.groups if group in undefined)
    for part in parts:
        if not part.compared or np.isnan(parts[0].value):
            return replace(part, undefined=names)
    if combine == "mean_difference":
        return _mean(parts, names)
    worst = min if combine in ("ratio", "group_min") else max
    shown = worst((p for p in parts if not np.isnan(p.value)), key=lambda part: part.value)
    return Gap(
        value=shown.value,
        low=worst(part.low for part in parts),
        high=worst(part.high for part in parts),
        undefined=names,
        remark=shown.remark,
        # The worst of several is unknown where any of them is.
        cut=any(part.cut for part in parts),
    )


def _over_groups(
    partition: Partition, base: str, combine: Combine, confidence: float, *, share: int
) -> Gap:
    defined = ~np.isnan(group_bands(partition, base, z=1.0).value)
    undefined = tuple(
        name for name, known in zip(partition.groups, defined, strict=True) if not known
    )
    groups = int(defined.sum())
    if groups < (1 if combine in ("group_min", "group_max") else 2):
        why = f"too few groups have a {base.replace('_', ' ')} to compare"
        return replace(_no_value(undefined, why), compared=False)
    kept = partition.kept(defined)
    bands = partial(group_bands, kept, base)
    # The error of the side that needs correction is split over the bases.
    split = 1.0 - (1.0 - confidence) / share
    value, low, high = _COMBINERS[combine](bands, groups, confidence, split)
    if np.isnan(value):
        return _no_value(undefined, f"every group's {base.replace('_', ' ')} is 0: no ratio")
    values = bands(z=1.0).value
    cut = cut_values(kept, base, values)
    rests_on = {"group_min": values.argmin(), "group_max": values.argmax()}.get(combine)
    return Gap(
        value=value,
        low=max(low, 0.0),
        high=min(high, 1.0 if combine == "ratio" else find_metric(base).high),
        undefined=undefined,
        remark=_extremes(kept, base, values, cut),
        cut=bool(cut.any() if rests_on is None else cut[rests_on]),
    )


def _mean(parts: list[Gap], undefined: tuple[str, ...]) -> Gap:
    value, low, high = (
        sum(getattr(part, name) for part in parts) / len(parts) for name in ("value", "low", "high")
    )
    remark = "; ".join(part.remark for part in parts)
    cut = any(part.cut for part in parts)
    return Gap(value=value, low=low, high=high, undefined=undefined, remark=remark, cut=cut)


def _between(partition: Partition, metric: Metric, confidence: float) -> Gap:
    (base,) = metric.bases
    if len(partition.groups) < 2:
        return replace(_no_value((), "too few groups to compare"), compared=False)
    found = between_groups(partition, base, confidence=confidence)
    value, low, high = (float(side[0]) for side in found)
    if np.isnan(value):
        return _no_value((), "nobody benefits: there is no mean to compare with")
    return Gap(value=value, low=max(low, 0.0), high=high, undefined=(), remark="")


def _pooled(partition: Partition, metric: Metric, confidence: float) -> Gap:
    """Return a rate over all groups together: one whose base is the group itself."""
    (base,) = metric.bases
    if not partition.groups:
        return replace(_no_value((), "no group is shown"), compared=False)
    found = group_bands(partition.together(), base, z=two_sided(confidence))
    value, low, high = (float(side[0]) for side in found)
    if np.isnan(value):
        return _no_value((), "no records")
    each = group_bands(partition, base, z=1.0).value
    cut = cut_values(partition, base, each)
    return Gap(
        value=value,
        low=max(low, 0.0),
        high=min(high, find_metric(base).high),
        undefined=(),
        remark="" if np.isnan(each).any() else _extremes(partition, base, each, cut),
        cut=bool(cut_values(partition.together(), base, found.value)[0]),
    )


def _no_value(undefined: tuple[str, ...], why: str) -> Gap:
    return Gap(value=float("nan"), low=0.0, high=1.0, undefined=undefined, remark=why)


def largest_difference(
    bands: Callable[..., Bands], groups: int, confidence: float, split: float
) -> tuple[float, float, float]:
    """Return the largest difference between groups with its limits.

    Args:
        bands: limits of each group at a critical value `z`, arrays of shape (groups,).
        groups: how many there are.
        confidence: of the upper limit.
        split: of the lower limit, which must hold for all pairs at once.
    """
    plain, joint = bands(z=two_sided(confidence)), bands(z=all_pairs(groups, split))
    value = plain.value.max() - plain.value.min()
    low = differences(joint, joint).low[_pairs(groups)].max()
    high = differences(plain, plain).high[_pairs(groups)].max()
    return float(value), float(low), float(high)


def _ratio(
    bands: Callable[..., Bands], groups: int, confidence: float, split: float
) -> tuple[float, float, float]:
    plain, joint = bands(z=two_sided(confidence)), bands(z=all_pairs(groups, split))
    highest = plain.value.max()
    value = plain.value.min() / highest if highest > 0 else np.nan
    low = ratios(plain, plain).low[_pairs(groups)].min()
    high = ratios(joint, joint).high[_pairs(groups)].min()
    return float(value), float(low), float(high)


def _lowest(
    bands: Callable[..., Bands], groups: int, confidence: float, split: float
) -> tuple[float, float, float]:
    plain, joint = bands(z=two_sided(confidence)), bands(z=each_of(groups, split))
    return float(plain.value.min()), float(plain.low.min()), float(joint.high.min())


def _highest(
    bands: Callable[..., Bands], groups: int, confidence: float, split: float
) -> tuple[float, float, float]:
    plain, joint = bands(z=two_sided(confidence)), bands(z=each_of(groups, split))
    return float(plain.value.max()), float(joint.low.max()), float(plain.high.max())


_COMBINERS: dict[Combine, Callable[..., tuple[float, float, float]]] = {
    "difference": largest_difference,
    "ratio": _ratio,
    "group_min": _lowest,
    "group_max": _highest,
    "mean_difference": largest_difference,
}


def over_groups(
    bands: Callable[..., Bands], groups: int, combine: Combine, *, confidence: float
) -> tuple[float, float, float]:
    """Return the largest difference, lowest ratio, lowest or highest group, with its limits.

    Args:
        bands: limits of each group at a critical value `z`, arrays of shape (groups,).
        groups: how many there are.
        combine: which of them.
        confidence: of the limits.
    """
    return _COMBINERS[combine](bands, groups, confidence, confidence)


def _pairs(groups: int) -> np.ndarray:
    different: np.ndarray = ~np.eye(groups, dtype=bool)
    return different


def _extremes(partition: Partition, base: str, values: np.ndarray, cut: np.ndarray) -> str:
    name = base.replace("_", " ")
    low, high = int(values.argmin()), int(values.argmax())
    if values[low] == values[high]:
        figure = "no estimate" if cut[low] else f"{values[low]:.3f}"
        return f"{name} the same for every group ({figure})" if len(values) > 1 else ""
    lowest, highest = (
        f"{partition.groups[index]} ({'no estimate' if cut[index] else f'{values[index]:.3f}'})"
        for index in (low, high)
    )
    return f"{name} lowest for {lowest}, highest for {highest}"
