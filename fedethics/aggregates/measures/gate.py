"""Whether what was measured of texts meets the charter's bars: one rule for each."""

from __future__ import annotations

import math
from dataclasses import replace

from fedethics.aggregates.measures import MEASURES
from fedethics.aggregates.measures.opened import OpenedMeasures, opened_measures
from fedethics.charter.measure_terms import MeasureObjective
from fedethics.counterfactuals import find_change
from fedethics.errors import AccountingError
from fedethics.fairness import Estimate
from fedethics.fairness.judge import nothing_decided
from fedethics.fairness.partition import everyone
from fedethics.fairness.together import at_looks
from fedethics.release.folder import EVIDENCE, Folder
from fedethics.release.rules.bars import Bar
from fedethics.release.rules.rule import Findings, Measurement, Rule

NAME = "measures of texts"
_OPEN = "The interval contains the bar, so nothing can be concluded."
_MISSED = "The whole interval is on the wrong side of the bar."


def examine(folder: Folder) -> tuple[Rule | Bar, ...]:
    """Judge each bar; no rule where the charter measures nothing further."""
    terms = folder.charter.measures
    opened = [entry for entry in folder.evidence.rounds if entry.kind == MEASURES.name]
    if terms is None:
        if not opened:
            return ()
        stray = "Texts were measured in a way that the charter does not ask for."
        return (_rule(NAME, Findings(faults=(stray,))),)
    try:
        found = opened_measures(folder)
    except AccountingError as error:
        return (_rule(NAME, Findings(faults=(f"No plan follows from the charter: {error}",))),)
    if found is None:
        missing = "The charter asks for measures of texts, and no such sum is on record."
        return (_rule(NAME, Findings(gaps=(missing,))),)
    if not terms.objectives:
        idle = "The charter sets no bar for what is measured of texts, so this could not fail."
        return (_rule(NAME, Findings(idle=idle)),)
    return tuple(_judged(found, objective, folder) for objective in terms.objectives)


def _judged(found: OpenedMeasures, objective: MeasureObjective, folder: Folder) -> Bar:
    name, combine = objective.parts()
    estimate = found.estimate(name, combine, confidence=objective.confidence)
    good = _side(estimate, objective)
    said = sentence(estimate, objective)
    gaps = [f"{said} {_OPEN}"] if good is None else []
    if good and _of_decisions(name, folder):
        # Where nothing is decided, nothing flips, and a bar that is met says nothing.
        empty = nothing_decided(everyone(folder.tables), confidence=objective.confidence)
        gaps += [f"{said} {empty}"] if empty else []
    findings = Findings(
        faults=(f"{said} {_MISSED}",) if good is False else (),
        gaps=tuple(gaps),
    )
    figure = Measurement(
        value=estimate.figure if math.isfinite(estimate.figure) else None,
        low=estimate.low,
        high=estimate.high,
        confidence=estimate.confidence,
        bar=objective.bar,
        direction=objective.direction,
    )
    label = objective.metric.replace("_", " ")
    rule = _rule(f"{label} (measured of texts)", findings, holds=said, figure=figure)

    def fails(looks: int) -> bool:
        confidence = at_looks(objective.confidence, looks)
        asked = replace(objective, confidence=confidence)
        return _side(found.estimate(name, combine, confidence=confidence), asked) is False

    return Bar(rule=rule, said=said, fails=fails)


def _of_decisions(name: str, folder: Folder) -> bool:
    terms = folder.charter.measures
    return any(
        name == f"{words.name}_{change}" and find_change(change).decides
        for words in (terms and terms.counterfactuals) or ()
        for change in words.count
    )


def _side(estimate: Estimate, objective: MeasureObjective) -> bool | None:
    """Say on which side of the bar the whole interval lies; None where it holds the bar."""
    if math.isnan(estimate.value):
        return None
    at_most = objective.direction == "at-most"
    if (estimate.high <= objective.bar) if at_most else (estimate.low >= objective.bar):
        return True
    if (estimate.low > objective.bar) if at_most else (estimate.high < objective.bar):
        return False
    return None


def sentence(estimate: Estimate, objective: MeasureObjective) -> str:
    """Return what was found of an objective, in one sentence."""
    value = f"{estimate.figure:.3f}" if math.isfinite(estimate.figure) else "no estimate"
    note = f"; {estimate.note}" if estimate.note else ""
    return (
        f"{objective.metric} is {value} ({estimate.low:.3f} to {estimate.high:.3f} with "
        f"{estimate.confidence:.0%} confidence{note}); the charter asks for "
        f"{objective.direction.replace('-', ' ')} {objective.bar:g}."
    )


def _rule(
    name: str, findings: Findings, *, holds: str = "-", figure: Measurement | None = None
) -> Rule:
    return findings.rule(name, topic="people", holds=holds, evidence=EVIDENCE, figure=figure)
