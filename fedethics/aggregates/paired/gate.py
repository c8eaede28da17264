"""Whether the trained model is right often enough beside the one before it: a rule for each bar."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from fedethics.aggregates.paired import PAIRED, groups_of, terms_of
from fedethics.charter.paired_terms import PairedObjective
from fedethics.errors import AccountingError
from fedethics.fairness import Estimate
from fedethics.fairness.paired import PairedSums, change_of, lowest_change
from fedethics.fairness.partition import MINIMUM_CELL
from fedethics.fairness.together import at_looks
from fedethics.privacy.plan import make_plan
from fedethics.release.folder import EVIDENCE, Folder
from fedethics.release.rules.bars import Bar
from fedethics.release.rules.rule import Findings, Measurement, Rule

NAME = "comparison with the model before training"


def opened_pairs(folder: Folder) -> PairedSums | None:
    """Return the opened counts; None where the charter asks for none, or none were opened.

    Raises:
        AccountingError: no plan follows from the charter.
    """
    charter = folder.charter
    if charter.paired is None:
        return None
    groups, feature = groups_of(charter), terms_of(charter).feature
    wanted = (PAIRED.name, charter.training.rounds, 4 * len(groups))
    for entry in folder.evidence.counted or ():
        if (entry.kind, entry.round, len(entry.counts)) == wanted:
            return PairedSums(
                groups=groups,
                table=np.array(entry.counts, dtype=np.float64).reshape(-1, 4),
                noise=PAIRED.of(make_plan(charter).sums).noise.sum_variance,
                contributors=np.array(
                    [
                        sum(f"{feature}={group}" not in one.absent_groups for one in charter.roster)
                        for group in groups
                    ]
                ),
            )
    return None


def examine(folder: Folder) -> tuple[Rule | Bar, ...]:
    """Judge each bar; no rule where the charter compares with nothing."""
    terms = folder.charter.paired
    opened = [entry for entry in folder.evidence.rounds if entry.kind == PAIRED.name]
    if terms is None:
        if not opened:
            return ()
        stray = "The model was compared with its start, which the charter does not ask for."
        return (_rule(NAME, Findings(faults=(stray,))),)
    try:
        found = opened_pairs(folder)
    except AccountingError as error:
        return (_rule(NAME, Findings(faults=(f"No plan follows from the charter: {error}",))),)
    if found is None:
        missing = "The charter asks for a comparison with the model before training, and no such "
        return (_rule(NAME, Findings(gaps=(f"{missing}sum is on record.",))),)
    return tuple(_judged(found, each, len(folder.charter.roster)) for each in terms.objectives)


def change(found: PairedSums, objective: PairedObjective, *, sites: int) -> Estimate:
    """Return the change that an objective is about."""
    if objective.of_groups:
        return lowest_change(found, confidence=objective.confidence, minimum_cell=MINIMUM_CELL)
    return change_of(found.together(sites=sites), confidence=objective.confidence)


def _judged(found: PairedSums, objective: PairedObjective, sites: int) -> Bar:
    estimate = change(found, objective, sites=sites)
    said = sentence(estimate, objective)
    known, bar = not math.isnan(estimate.value), objective.bar
    fails = known and estimate.high < bar
    holds = known and estimate.low >= bar
    findings = Findings(
        faults=(f"{said} That is worse than the charter allows.",) if fails else (),
        gaps=()
        if holds or fails
        else (
            f"{said} The bar lies within. More held-out records, or a larger paired.epsilon, would "
            "settle it.",
        ),
    )
    figure = Measurement(
        value=estimate.figure if math.isfinite(estimate.figure) else None,
        low=estimate.low,
        high=estimate.high,
        confidence=estimate.confidence,
        bar=bar,
        direction=objective.direction,
    )
    label = objective.metric.replace("_", " ")
    rule = _rule(f"{label} (beside the model before training)", findings, said, figure)

    def below(looks: int) -> bool:
        asked = replace(objective, confidence=at_looks(objective.confidence, looks))
        limits = change(found, asked, sites=sites)
        return not math.isnan(limits.value) and limits.high < bar

    return Bar(rule=rule, said=said, fails=below)


def sentence(estimate: Estimate, objective: PairedObjective) -> str:
    """Return what was found of an objective, in one sentence."""
    value = f"{estimate.figure:+.3f}" if math.isfinite(estimate.figure) else "no estimate"
    note = f"; {estimate.note}" if estimate.note else ""
    whose = "of the group that changed least for the better" if objective.of_groups else "over all"
    return (
        f"The share of right answers {whose} changed by {value} ({estimate.low:+.3f} to "
        f"{estimate.high:+.3f} with {estimate.confidence:.0%} confidence{note}); the charter asks "
        f"for at least {objective.bar:+g}."
    )


def _rule(
    name: str, findings: Findings, holds: str = "-", figure: Measurement | None = None
) -> Rule:
    return findings.rule(name, topic="people", holds=holds, evidence=EVIDENCE, figure=figure)
