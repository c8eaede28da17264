"""Hold an objective against the opened sums."""

from __future__ import annotations

import math
from functools import partial

from fedethics.fairness.estimate import CUT, Estimate
from fedethics.fairness.gaps import gap
from fedethics.fairness.layout import Tables
from fedethics.fairness.measure import compare, pooled
from fedethics.fairness.metrics import Metric, find_metric
from fedethics.fairness.objective import Objective, Outcome, Verdict
from fedethics.fairness.partition import MINIMUM_CELL, Partition, everyone
from fedethics.fairness.settle import Limits, what_would_settle
from fedethics.fairness.vacuous import one_answer


def judge(tables: Tables, objective: Objective, *, minimum_cell: int = MINIMUM_CELL) -> Verdict:
    """Return whether `objective` holds, fails, or cannot be concluded.

    Guarantee: `holds` only if the whole interval lies on the good side of the bar (touching it
    counts as good), `fails` only if the whole interval lies on the bad side. A declared group for
    which the metric has no value makes `holds` impossible, since nothing is known of it; it cannot
    undo `fails`, which one more group would only make worse. A gap between groups does not hold
    where the model may give all but everyone the same answer (vacuous.py). Withheld small groups
    are left out, and the sentence says so.

    Raises:
        FairnessError: the objective's feature is not in the tables' layout.
    """
    metric = find_metric(objective.metric)
    if objective.feature is None:
        shown = everyone(tables)
        estimate = pooled(shown, metric, confidence=objective.confidence)
        undefined: tuple[str, ...] = ()
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
    outcome = _outcome(objective, (estimate.value, estimate.low, estimate.high))
    if outcome == "holds" and undefined:
        outcome = "cannot conclude"
    settle = ""
    if outcome == "holds":
        settle = one_answer(everyone(tables), metric, confidence=objective.confidence)
        outcome = "cannot conclude" if settle else outcome
    elif outcome == "cannot conclude":
        settle = _settle(objective, metric, shown, estimate, undefined)
    return Verdict(
        objective=objective,
        outcome=outcome,
        estimate=estimate,
        sentence=_sentence(objective, metric, estimate, outcome),
        settle=settle,
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


def _settle(
    objective: Objective,
    metric: Metric,
    shown: Partition,
    estimate: Estimate,
    undefined: tuple[str, ...],
) -> str:
    if undefined:
        return f"Records for which the metric has a value are needed from: {', '.join(undefined)}."
    if estimate.cut:
        return (
            "More records or less noise would narrow the interval; how much of either would settle "
            "it cannot be said without an estimate."
        )
    if math.isnan(estimate.value):
        return "Records that give the metric a value are needed, enough of each group to be shown."
    return what_would_settle(
        shown,
        evaluate=partial(_limits, metric=metric, confidence=objective.confidence),
        decided=lambda limits: _outcome(objective, limits) != "cannot conclude",
        binned=metric.binned,
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
            f"has no estimate, for noise carried it out of its range; its "
            f"{estimate.confidence * 100:g} % interval {estimate.low:.3f} to {estimate.high:.3f} "
            "stands"
        )
    elif math.isnan(estimate.value):
        figure = "has no value"
    else:
        figure = (
            f"is {estimate.value:.3f} ({estimate.confidence * 100:g} % interval "
            f"{estimate.low:.3f} to {estimate.high:.3f})"
        )
    asked = f"asked: {objective.direction.replace('-', ' ')} {objective.bar:g}"
    said = {
        "holds": "The objective holds",
        "fails": "The objective fails",
        "cannot conclude": "No conclusion can be drawn",
    }[outcome]
    said_already = estimate.note.removeprefix(CUT).removeprefix("; ")
    note = f" ({said_already})" if said_already else ""
    return f"{said}: the {metric.meaning}{over} {figure}, {asked}{note}."
