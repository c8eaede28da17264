"""Hold an objective against the opened sums.

What stakeholders ask of a metric, and the answer the sums give.

What an open verdict lacks: records of a group, a model that decides, or more records (`needed`).

Whether a model gives nearly everyone the same answer: then no group differs.

A gap of zero says nothing about a model that selects no one or everyone: it decides
nothing. Such an objective is not called held.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

from fedethics.errors import FairnessError
from fedethics.fairness.estimate import CUT, Estimate, checked_confidence, two_sided
from fedethics.fairness.gaps import gap
from fedethics.fairness.layout import Tables
from fedethics.fairness.measure import compare, pooled
from fedethics.fairness.metrics import Metric, find_metric
from fedethics.fairness.needed import Limits, records_that_decide
from fedethics.fairness.partition import MINIMUM_CELL, Partition, everyone
from fedethics.fairness.rates import fraction_bands

Direction: TypeAlias = Literal["at-most", "at-least"]
Outcome: TypeAlias = Literal["holds", "fails", "cannot conclude"]

_SENSE: dict[str, Direction] = {
    "difference": "at-most",
    "group_max": "at-most",
    "ratio": "at-least",
    "group_min": "at-least",
    "mean_difference": "at-most",
    "between": "at-most",
    "pooled": "at-most",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """One line of the charter: a metric, over whom, and the bar that it must meet.

    Attributes:
        metric: a rate when `feature` is None, else an aggregate over the feature's groups.
        feature: a sensitive feature, an intersection such as `sex*age_band`, or None for everyone.
        bar: within the metric's range.
        direction: whether the metric must be at most or at least the bar.
        confidence: of the interval that decides.
        name: short label for reports.
        why: whom it protects and why the bar is where it is.

    Raises:
        FairnessError: unknown metric, a metric that does not fit `feature`, a bar outside the
            metric's range, or a direction in which more disparity would count as better.
    """

    metric: str
    feature: str | None
    bar: float
    direction: Direction
    confidence: float = 0.95
    name: str = ""
    why: str = ""

    def __post_init__(self) -> None:
        found = find_metric(self.metric, kind="rate" if self.feature is None else "aggregate")
        if found.swapped and self.feature is None:
            raise FairnessError(
                f"{self.metric} needs a sensitive feature: the one whose word is swapped"
            )
        checked_confidence(self.confidence)
        if self.direction not in ("at-most", "at-least"):
            raise FairnessError(f"direction {self.direction!r} must be 'at-most' or 'at-least'")
        if not found.low <= self.bar <= found.high:
            raise FairnessError(
                f"bar {self.bar!r} for {self.metric} is outside its range "
                f"[{found.low:g}, {found.high:g}]"
            )
        sense = _SENSE.get(found.combine or "", self.direction)
        if self.direction != sense:
            raise FairnessError(
                f"{self.metric} is a {found.combine}: it can only be asked to be {sense} "
                f"{self.bar:g}, since {self.direction} would reward disparity"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether an objective holds.

    Attributes:
        objective: what was asked.
        outcome: `holds` or `fails` only when the whole interval lies on one side of the bar.
        estimate: value and interval.
        sentence: the verdict in plain words, one line.
        remedy: when it cannot conclude, what it lacks, as far as that can be said; else empty.
        fails_alone: it fails by its own interval, but not among all objectives of its list; then it
            cannot conclude (`together`).
    """

    objective: Objective
    outcome: Outcome
    estimate: Estimate
    sentence: str
    remedy: str
    fails_alone: bool = False


# One in a hundred: below it, a group of a few hundred people sees two or three decisions.
_FEW = 0.01
_DISPARITIES = frozenset({"difference", "ratio", "mean_difference", "between", "pooled"})


def one_answer(everyone: Partition, metric: Metric, *, confidence: float) -> str:
    """Return what makes a held `metric` empty, as a sentence, or "".

    It is empty where `metric` compares decisions between groups and the interval of the share of
    people selected reaches below 1 in 100 or above 99 in 100; of several classes, where that of
    the share who are given one of them may be above 99 in 100.
    """
    if metric.kind != "aggregate" or metric.binned or metric.combine not in _DISPARITIES:
        return ""
    return nothing_decided(everyone, confidence=confidence)


def nothing_decided(everyone: Partition, *, confidence: float) -> str:
    """Say that a model may give nearly everyone the same answer, in a sentence; or ""."""
    if not everyone.measured.thresholded:
        return _one_class(everyone, confidence)
    share = pooled(everyone, find_metric("selection_rate"), confidence=confidence)
    # Written so that no value at all counts as one answer.
    if share.low >= _FEW and share.high <= 1.0 - _FEW:
        return ""
    return (
        f"The model may give nearly everyone the same answer: it selects {share.value:.3f} of the "
        f"people (interval {share.low:.3f} to {share.high:.3f}), so that groups fare alike because "
        "nothing is decided. A model, or a threshold, that selects some and not others is needed."
    )


def _one_class(everyone: Partition, confidence: float) -> str:
    fraction = everyone.measured.most_given(everyone.counts[0])
    if fraction is None:
        return ""
    share = fraction_bands(everyone, fraction, z=two_sided(confidence))
    # Written so that no value at all counts as one answer.
    if share.high[0] <= 1.0 - _FEW:
        return ""
    return (
        "The model may give nearly everyone the same answer, so that groups fare alike because "
        "nothing is decided. A model that decides for several classes is needed."
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Conclusion:
    """An outcome and what it was concluded from.

    Attributes:
        outcome, estimate: as in a `Verdict`.
        undefined: declared groups for which the metric has no value.
        shown: the partition that was judged.
        empty: why a bar that is met says nothing (`one_answer`); else empty.
    """

    outcome: Outcome
    estimate: Estimate
    undefined: tuple[str, ...]
    shown: Partition
    empty: str


def conclude(
    tables: Tables, objective: Objective, *, minimum_cell: int = MINIMUM_CELL
) -> Conclusion:
    """Return the outcome that `judge` explains. Guarantees and errors as there."""
    metric = find_metric(objective.metric)
    undefined: tuple[str, ...] = ()
    if objective.feature is None:
        shown = everyone(tables)
        estimate = pooled(shown, metric, confidence=objective.confidence)
    else:
        found = compare(
            tables,
            objective.metric,
            feature=objective.feature,
            confidence=objective.confidence,
            minimum_cell=minimum_cell,
        )
        estimate, undefined, shown = found.estimate, found.undefined, found.shown
    # A cut value is no figure to show; its interval decides as any other.
    outcome, empty = _outcome(objective, (estimate.value, estimate.low, estimate.high)), ""
    if outcome == "holds":
        if not undefined:
            empty = one_answer(everyone(tables), metric, confidence=objective.confidence)
        outcome = "cannot conclude" if undefined or empty else outcome
    return Conclusion(
        outcome=outcome, estimate=estimate, undefined=undefined, shown=shown, empty=empty
    )


def judge(tables: Tables, objective: Objective, *, minimum_cell: int = MINIMUM_CELL) -> Verdict:
    """Return whether `objective` holds, fails, or cannot be concluded.

    Guarantee: `holds` only if the whole interval lies on the good side of the bar (touching it
    counts as good), `fails` only if the whole interval lies on the bad side. A declared group for
    which the metric has no value makes `holds` impossible, since nothing is known of it; it cannot
    undo `fails`, which one more group would only make worse. A gap between groups does not hold
    where the model may give nearly everyone the same answer (`one_answer`). Withheld small groups
    are left out, and the sentence says so.

    Raises:
        FairnessError: the objective's feature is not in the tables' layout.
    """
    metric = find_metric(objective.metric)
    found = conclude(tables, objective, minimum_cell=minimum_cell)
    remedy = found.empty
    if found.outcome == "cannot conclude" and not remedy:
        remedy = _remedy(objective, metric, found.shown, found.estimate, found.undefined)
    return Verdict(
        objective=objective,
        outcome=found.outcome,
        estimate=found.estimate,
        sentence=_sentence(objective, metric, found.estimate, found.outcome),
        remedy=remedy,
    )


def _outcome(objective: Objective, limits: Limits) -> Outcome:
    value, low, high = limits
    if math.isnan(value):
        return "cannot conclude"
    at_most = objective.direction == "at-most"
    if high <= objective.bar if at_most else low >= objective.bar:
        return "holds"
    if low > objective.bar if at_most else high < objective.bar:
        return "fails"
    return "cannot conclude"


def _remedy(
    objective: Objective,
    metric: Metric,
    shown: Partition,
    estimate: Estimate,
    undefined: tuple[str, ...],
) -> str:
    if undefined:
        return f"Records for which the metric has a value are needed from: {', '.join(undefined)}."
    if math.isnan(estimate.value):
        return "Records that give the metric a value are needed, enough of each group to be shown."
    if estimate.cut:
        # A forecast would start from a figure that nobody measured.
        return ""
    return records_that_decide(
        shown,
        evaluate=partial(_limits, metric=metric, confidence=objective.confidence),
        bar=objective.bar,
        span=metric.high - metric.low,
        difference=metric.combine in ("difference", "mean_difference"),
        confidence=objective.confidence,
    )


def _limits(partition: Partition, *, metric: Metric, confidence: float) -> Limits:
    if metric.kind == "aggregate":
        over = gap(partition, metric, confidence=confidence)
        return over.value, over.low, over.high
    one = pooled(partition, metric, confidence=confidence)
    return one.value, one.low, one.high


def _sentence(objective: Objective, metric: Metric, estimate: Estimate, outcome: Outcome) -> str:
    over = f", by {objective.feature}," if objective.feature else ""
    if estimate.cut:
        figure = (
            f"has no estimate, because noise moved it out of its range; its "
            f"{estimate.confidence * 100:g} % interval is {estimate.low:.3f} to {estimate.high:.3f}"
        )
    elif math.isnan(estimate.value):
        figure = "has no value"
    else:
        figure = (
            f"is {estimate.value:.3f} ({estimate.confidence * 100:g} % interval "
            f"{estimate.low:.3f} to {estimate.high:.3f})"
        )
    asked = f"agreed: {objective.direction.replace('-', ' ')} {objective.bar:g}"
    said = {
        "holds": "The objective holds",
        "fails": "The objective fails",
        "cannot conclude": "No conclusion can be drawn",
    }[outcome]
    said_already = estimate.note.removeprefix(CUT).removeprefix("; ")
    note = f" ({said_already})" if said_already else ""
    return f"{said}: the {metric.meaning}{over} {figure}, {asked}{note}."
