"""The charter's objectives, judged on the opened sums: utility floors and fairness bars."""

from __future__ import annotations

import math

from fedethics.charter import ethics_terms
from fedethics.fairness import Estimate, Objective, Verdict, judge
from fedethics.fairness.judge import conclude
from fedethics.fairness.together import at_once
from fedethics.release.folder import CHARTER, EVIDENCE, Folder
from fedethics.release.rules.bars import Bar
from fedethics.release.rules.rule import Findings, Measurement, Outcome, Rule

WITHOUT_GROUPS = "groups"

_VERDICTS: dict[str, Outcome] = {
    "holds": "pass",
    "fails": "fail",
    "cannot conclude": "cannot conclude",
}


def examine(folder: Folder) -> tuple[Bar, ...]:
    """Judge every objective by its own interval, in the charter's order."""
    return tuple(_bar(folder, stated) for stated in folder.charter.ethics.objectives)


def _bar(folder: Folder, stated: ethics_terms.Objective) -> Bar:
    objective = as_objective(stated)
    verdict = judge(folder.tables, objective)
    found = verdict.sentence.partition(": ")[2]
    return Bar(
        rule=_rule(verdict, stated),
        said=f"The objective fails alone: {found}",
        fails=lambda looks: conclude(folder.tables, at_once(objective, looks)).outcome == "fails",
    )


def _rule(verdict: Verdict, stated: ethics_terms.Objective) -> Rule:
    return Rule(
        name=title(stated),
        topic="people",
        verdict=_VERDICTS[verdict.outcome],
        figure=_figure(verdict.estimate, stated),
        sentence=" ".join(filter(None, (verdict.sentence, verdict.remedy))),
        evidence=EVIDENCE,
    )


def groups(folder: Folder) -> tuple[Rule, ...]:
    """Return a rule that says why nothing was measured by group; none where groups were counted.

    It could not have failed, so it is no pass: the gate lists it among what is not informative.
    """
    why = folder.charter.ethics.without_groups
    if why is None:
        return ()
    found = Findings(
        idle="Nothing was measured by group, and no gap between groups is known: the charter names "
        f"no sensitive feature (ethics.without-groups). Its reason: {why}"
    )
    return (found.rule(WITHOUT_GROUPS, topic="people", holds="", evidence=CHARTER),)


def as_objective(stated: ethics_terms.Objective) -> Objective:
    """Return the charter's objective as the fairness package judges it.

    Raises:
        FairnessError: unknown metric, or a metric, bar or direction that do not fit together.
    """
    return Objective(
        metric=stated.metric,
        feature=stated.feature or None,
        bar=stated.bar,
        direction=stated.direction,
        confidence=stated.confidence,
        why=stated.why,
    )


def title(stated: ethics_terms.Objective) -> str:
    """Return the short label, e.g. "roc_auc_score" or "accuracy_score_difference by sex"."""
    return f"{stated.metric} by {stated.feature}" if stated.feature else stated.metric


def _figure(estimate: Estimate, stated: ethics_terms.Objective) -> Measurement:
    return Measurement(
        value=_finite(estimate.figure),
        low=_finite(estimate.low),
        high=_finite(estimate.high),
        confidence=estimate.confidence,
        bar=stated.bar,
        direction=stated.direction,
    )


def _finite(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None
