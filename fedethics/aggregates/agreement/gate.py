"""Whether annotators share what the model is to learn: alpha over all sites against the bar."""

from __future__ import annotations

import math
from dataclasses import replace

from fedethics.aggregates.agreement import AGREEMENT, groups_of
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
NAME_BY_GROUP = "agreement of annotators by group"


def opened_counts(folder: Folder) -> tuple[int, ...] | None:
    """Return the opened sum; None where the evidence holds none of the right round and size."""
    terms = folder.charter.annotation
    if terms is None:
        return None
    size = len(groups_of(folder.charter)) * entries(len(terms.labels))
    for entry in folder.evidence.counted or ():
        if (entry.kind, entry.round, len(entry.counts)) == (AGREEMENT.name, 1, size):
            return entry.counts
    return None


def everyone_of(counts: tuple[int, ...], groups: int) -> tuple[int, ...]:
    """Return the sum of the groups' matrices."""
    size = len(counts) // groups
    return tuple(sum(counts[place::size]) for place in range(size))


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
    plan, groups = AGREEMENT.of(make_plan(folder.charter).sums), len(groups_of(folder.charter))
    asked = replace(terms, confidence=at_looks(terms.confidence, looks))
    variance = groups * plan.noise.sum_variance
    return alpha_of(everyone_of(counts, groups), asked, variance=variance)


def by_group_of(folder: Folder, *, looks: int = 1) -> dict[str, Estimate]:
    """Return alpha of each group; empty where groups are not counted apart, or no sum is there.

    Args:
        folder: the run directory.
        looks: by how many the error of each interval is divided.

    Raises:
        AccountingError: no plan follows from the charter.
    """
    terms, counts = folder.charter.annotation, opened_counts(folder)
    if terms is None or terms.by is None or counts is None:
        return {}
    plan, size = AGREEMENT.of(make_plan(folder.charter).sums), entries(len(terms.labels))
    asked = replace(terms, confidence=at_looks(terms.confidence, looks))
    return {
        group: alpha_of(
            counts[place * size : (place + 1) * size], asked, variance=plan.noise.sum_variance
        )
        for place, group in enumerate(groups_of(folder.charter))
    }


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
    of_groups = () if terms.group_bar is None else (_of_groups(folder, terms),)
    bar = terms.bar
    if bar is None:
        return (rule, *of_groups)

    def below(looks: int) -> bool:
        limits = agreement_of(folder, looks=looks)
        return limits is not None and limits.high < bar

    return (Bar(rule=rule, said=_shared(found, terms), fails=below), *of_groups)


def _of_groups(folder: Folder, terms: AnnotationTerms) -> Bar:
    """Judge the groups: all must meet the bar; one that misses it allows for how many there are."""
    bar, found = terms.group_bar or 0.0, by_group_of(folder)
    said = {name: f"{terms.by}={name}: {_alpha(one, terms)}" for name, one in found.items()}

    def below(looks: int) -> tuple[str, ...]:
        limits = by_group_of(folder, looks=looks * len(found))
        return tuple(name for name, one in limits.items() if one.high < bar)

    missed = below(1)
    findings = Findings(
        faults=tuple(
            f"{said[name]} That is below {bar:g}: annotators do not agree on the labels of these "
            "people."
            for name in missed
        ),
        gaps=tuple(
            f"{said[name]} The charter asks for {bar:g} in each group, which is not shown."
            for name, one in found.items()
            if one.low < bar and name not in missed
        ),
    )
    worst = min(found.values(), key=lambda one: one.low)
    figure = Measurement(
        value=worst.figure if math.isfinite(worst.figure) else None,
        low=worst.low,
        high=worst.high,
        confidence=worst.confidence,
        bar=bar,
        direction="at-least",
    )
    holds = f"In each of {len(found)} groups of {terms.by}, alpha is at least {bar:g}."
    rule = findings.rule(
        NAME_BY_GROUP, topic="people", holds=holds, evidence=EVIDENCE, figure=figure
    )
    return Bar(rule=rule, said=" ".join(said.values()), fails=lambda looks: bool(below(looks)))


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
