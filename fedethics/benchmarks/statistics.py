"""Figures with their intervals, and paired comparisons of two models on the same items.

Shares of single items: Wilson's interval, McNemar's exact test, and the adjusted Wald
interval of Agresti and Min for the paired difference. Everything else: units are resampled with
replacement (a percentile bootstrap), and the paired test swaps the two models within units.

Guarantee: the same answers give the same figures on every machine: the draws are raw words of
Philox, whose stream is fixed, and no stored state.

Sources: Wilson 1927; McNemar 1947; Agresti and Min, Statistics in Medicine 24 (2005), 729-740;
Efron and Tibshirani 1993, chapter 13.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from fedethics.benchmarks.benchmark import Answer, BenchmarkMetric, Floats

FEWEST = 20
_DRAWS = 2000
_SEED = 0xB1A5
# An interval of resamples is told if the metric is defined in this share of them.
_DEFINED = 0.95
# Fewer changed units than these do not show how the changes scatter.
_FEW = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A number with its interval, or why there is none.

    Attributes:
        value, low, high: None where the figure is not given.
        items, units: that it rests on.
        untold: why there is no figure; empty where there is one.
        p: of a comparison: probability of a difference as large if the models did not differ.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    items: int
    units: int
    untold: str = ""
    p: float | None = None


def figure(
    metric: BenchmarkMetric, answers: Sequence[Answer], *, confidence: float = 0.95
) -> Figure:
    """Return the metric of `answers` with its interval at `confidence`."""
    found = _Summed(metric, answers)
    if found.untold:
        return found.figure()
    total = found.terms.sum(axis=0)
    value = float(metric.value(total))
    if found.alone:
        low, high = wilson(total[0], total[1], confidence)
    elif metric.share and not 0 < value < 1:
        # All units agree, so resampling says nothing; as if each unit had been one item.
        low, high = wilson(value * found.units, found.units, confidence)
    else:
        low, high = _percentiles(metric.value(found.resampled()), confidence)
        if metric.share:
            # Near 0 and 1 resamples are too narrow: never narrower than if items stood alone.
            ends = wilson(total[0], total[1], confidence)
            low, high = min(low, ends[0]), max(high, ends[1])
    return found.figure(value, low, high)


def difference(
    metric: BenchmarkMetric,
    before: Sequence[Answer],
    after: Sequence[Answer],
    *,
    confidence: float = 0.95,
) -> Figure:
    """Return after less before, on the same items, with its interval and test."""
    first, second = _Summed(metric, before), _Summed(metric, after)
    untold = first.untold or second.untold
    if untold:
        return first.figure(untold=untold)
    value = float(metric.value(second.terms.sum(axis=0)) - metric.value(first.terms.sum(axis=0)))
    if first.alone and second.alone:
        gained, lost = _discordant(first.terms, second.terms)
        low, high = _agresti_min(gained, lost, len(first.terms), confidence)
        return first.figure(value, low, high, p=mcnemar(gained, lost))
    drawn = metric.value(second.resampled()) - metric.value(first.resampled())
    low, high = _percentiles(drawn, confidence)
    if int(np.any(first.terms != second.terms, axis=1).sum()) < _FEW:
        # Resamples of hardly any change say too little: as many units as did not change say that
        # few would (the rule of three, at `confidence`).
        most = 1 - (1 - confidence) ** (1 / first.units)
        low, high = min(low, value) - most * _span(metric), max(high, value) + most * _span(metric)
    return first.figure(value, low, high, p=_swapped(metric, first.terms, second.terms))


def wilson(hits: float, count: float, confidence: float) -> tuple[float, float]:
    """Return Wilson's score interval for `hits` of `count`."""
    z = _quantile(confidence)
    middle = (hits + z * z / 2) / (count + z * z)
    half = z * math.sqrt(hits * (count - hits) / count + z * z / 4) / (count + z * z)
    return max(0.0, middle - half), min(1.0, middle + half)


def mcnemar(gained: int, lost: int) -> float:
    """Return the exact two-sided p of `gained` against `lost` discordant pairs."""
    pairs = gained + lost
    if not pairs:
        return 1.0
    scale = pairs * math.log(2)
    tail = sum(
        math.exp(math.lgamma(pairs + 1) - math.lgamma(k + 1) - math.lgamma(pairs - k + 1) - scale)
        for k in range(min(gained, lost) + 1)
    )
    return min(1.0, 2 * tail)


class _Summed:
    """The terms of a metric by unit, and whether they say anything."""

    def __init__(self, metric: BenchmarkMetric, answers: Sequence[Answer]) -> None:
        self._metric = metric
        self.items = len(answers)
        by_unit: dict[str, list[Answer]] = {}
        for answer in answers:
            by_unit.setdefault(answer.facts.unit, []).append(answer)
        self.units = len(by_unit)
        self.terms: Floats = np.array(
            [metric.terms(each) for each in by_unit.values()], dtype=float
        )
        if metric.share and self.terms.size:
            counted = self.terms[:, 1] > 0
            self.terms, self.units = self.terms[counted], int(counted.sum())
            self.items = int(self.terms[:, 1].sum())
        self.alone = metric.share and bool(np.all(self.terms[:, 1:] == 1))
        self.untold = self._untold(answers)

    def _untold(self, answers: Sequence[Answer]) -> str:
        if self.units < FEWEST:
            return f"{self.units} units; fewer than {FEWEST} say too little"
        if unfit := self._metric.unfit(answers):
            return unfit
        if not math.isfinite(float(self._metric.value(self.terms.sum(axis=0)))):
            return "nothing was counted that it could rest on"
        return ""

    def resampled(self) -> Floats:
        """Return the sums of each resample of units, shape (draws, k)."""
        return _weights(self.units) @ self.terms

    def figure(
        self,
        value: float | None = None,
        low: float | None = None,
        high: float | None = None,
        *,
        p: float | None = None,
        untold: str = "",
    ) -> Figure:
        if value is not None and (low is None or not math.isfinite(low)):
            value, low, high, p = None, None, None, None
            untold = "it is undefined in too many resamples"
        return Figure(
            value=value, low=low, high=high, items=self.items, units=self.units,
            untold=untold or self.untold, p=p,
        )  # fmt: skip


def _weights(units: int) -> Floats:
    """Return how often each resample draws each unit, shape (draws, units)."""
    words = np.random.Philox(key=_SEED).random_raw(_DRAWS * units).reshape(_DRAWS, units)
    drawn = (words >> np.uint64(11)) % np.uint64(units)
    places = drawn.astype(np.int64) + np.arange(_DRAWS)[:, None] * units
    counted = np.bincount(places.ravel(), minlength=_DRAWS * units)
    return counted.reshape(_DRAWS, units).astype(float)


def _percentiles(values: Floats, confidence: float) -> tuple[float, float]:
    defined = values[np.isfinite(values)]
    if len(defined) < _DEFINED * len(values):
        return math.nan, math.nan
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _swapped(metric: BenchmarkMetric, first: Floats, second: Floats) -> float:
    """Return the p of a test that swaps the models within each unit, by chance or not at all."""
    units = len(first)
    words = np.random.Philox(key=_SEED + 1).random_raw(_DRAWS * units).reshape(_DRAWS, units)
    kept = (words >> np.uint64(63)).astype(float)
    change = second - first
    moved = kept @ change
    values = metric.value(first.sum(axis=0) + moved) - metric.value(second.sum(axis=0) - moved)
    seen = metric.value(second.sum(axis=0)) - metric.value(first.sum(axis=0))
    as_large = np.abs(np.nan_to_num(values, nan=np.inf)) >= abs(float(seen)) - 1e-12
    return float((1 + as_large.sum()) / (1 + _DRAWS))


def _discordant(first: Floats, second: Floats) -> tuple[int, int]:
    change = second[:, 0] - first[:, 0]
    return int((change > 0).sum()), int((change < 0).sum())


def _agresti_min(gained: int, lost: int, count: int, confidence: float) -> tuple[float, float]:
    # Half an item more in each of the four cells.
    more, less, n = gained + 0.5, lost + 0.5, count + 2
    middle = (more - less) / n
    half = _quantile(confidence) * math.sqrt(more + less - (more - less) ** 2 / n) / n
    return max(-1.0, middle - half), min(1.0, middle + half)


def _span(metric: BenchmarkMetric) -> float:
    return metric.high - metric.low if math.isfinite(metric.high - metric.low) else 1.0


def _quantile(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)
