"""Whether annotators share what the model is to learn: alpha over all sites against the bar."""

from __future__ import annotations

import math
from dataclasses import replace

from fedethics.aggregates.agreement import AGREEMENT
from fedethics.aggregates.agreement.alpha import alpha_of, entries
from fedethics.charter.annotation_terms import AnnotationTerms
from fedethics.errors import AccountingError
from fedethics.fairness import Estimate
from fedethics.fairness.together import at_looks
from fedethics.privacy.plan import make_plan
from fedethics.release.folder import EVIDENCE, Folder
from fedethics.release.rules.bars import Bar
from fedethics.release.rules.rule import Findings, Measurement, Rule

NAME = "agreement of annotators"


def opened_counts(folder: Folder) -> tuple[int, ...] | None:
    """Return the opened sum; None where the evidence holds none of the right round and size."""
    terms = folder.charter.annotation
    for entry in folder.evidence.counted or ():
        here = (entry.kind, entry.round, len(entry.counts))
        if terms is not None and here == (AGREEMENT.name, 1, entries(len(terms.labels))):
            return entry.counts
    return None


def agreement_of(folder: Folder, *, looks: int = 1) -> Estimate | None:
    """Return alpha over all sites, with the noise that the charter's plan gives it; None without.

    Args:
        folder: the run directory.
        looks: by how many the error of the interval is divided.

    Raises:
        AccountingError: no plan follows from the charter.
    """
    terms, counts = folder.charter.annotation, opened_counts(folder)
    if terms is None or counts is None:
        return None
    plan = AGREEMENT.of(make_plan(folder.charter).sums)
    asked = replace(terms, confidence=at_looks(terms.confidence, looks))
    return alpha_of(counts, asked, variance=plan.noise.sum_variance)


def examine(folder: Folder) -> tuple[Rule | Bar, ...]:
    """Judge the agreement; no rule where the charter says nothing of annotation."""
    terms = folder.charter.annotation
    opened = [entry for entry in folder.evidence.rounds if entry.kind == AGREEMENT.name]
    if terms is None:
        if not opened:
            return ()
        stray = "Annotators' labels were counted, which the charter does not ask for."
        return (_rule(Findings(faults=(stray,))),)
    try:
        found = agreement_of(folder)
    except AccountingError as error:
        return (_rule(Findings(faults=(f"No plan follows from the charter: {error}",))),)
    if found is None:
        missing = "The charter asks for the agreement of annotators, and no such sum is on record."
        return (_rule(Findings(gaps=(missing,))),)
    figure = Measurement(
        value=found.figure if math.isfinite(found.figure) else None,
        low=found.low,
        high=found.high,
        confidence=found.confidence,
        bar=terms.bar,
        direction="" if terms.bar is None else "at-least",
    )
    rule = _rule(_judged(found, terms), holds=_shared(found, terms), figure=figure)
    bar = terms.bar
    if bar is None:
        return (rule,)

    def below(looks: int) -> bool:
        limits = agreement_of(folder, looks=looks)
        return limits is not None and limits.high < bar

    return (Bar(rule=rule, said=_shared(found, terms), fails=below),)


def _rule(findings: Findings, *, holds: str = "-", figure: Measurement | None = None) -> Rule:
    return findings.rule(NAME, topic="people", holds=holds, evidence=EVIDENCE, figure=figure)


def _judged(found: Estimate, terms: AnnotationTerms) -> Findings:
    said = _alpha(found, terms)
    if terms.bar is None:
        return Findings(idle=f"{said} The charter sets no bar, so this could not have failed.")
    if found.high < terms.bar:
        return Findings(
            faults=(
                f"{said} That is below {terms.bar:g}: annotators do not agree on these labels, so "
                "no model can be judged by them. Improve the guideline and annotate again.",
            )
        )
    if found.low < terms.bar:
        return Findings(
            gaps=(
                f"{said} The charter asks for {terms.bar:g}, which the interval contains. More "
                "records with two labels, or a larger annotation.epsilon, would decide it.",
            )
        )
    return Findings()


def _shared(found: Estimate, terms: AnnotationTerms) -> str:
    return f"{_alpha(found, terms)} The charter asks for at least {terms.bar or 0:g}."


def _alpha(found: Estimate, terms: AnnotationTerms) -> str:
    interval = f"({found.low:.3f} to {found.high:.3f} with {found.confidence:.0%} confidence)"
    if not math.isfinite(found.figure):
        return f"Krippendorff's alpha has no estimate {interval}{_why(found)}."
    return (
        f"Over all sites annotators agree with Krippendorff's alpha {found.figure:.3f} {interval}, "
        f"at level {terms.level}."
    )


def _why(found: Estimate) -> str:
    return f": {found.note}" if found.note else ""
