"""Whether those whom the model is for are in the data: the charter's bars on the census.

A bar holds where every group's interval lies on its good side. It is missed where some group's
interval lies on the other side, at a confidence that allows for the number of groups (Bonferroni;
Holm's steps over the groups would miss the same bars), and by Holm's steps over all bars of the
charter (`fedethics.release.rules.bars`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fedethics.aggregates.census import CENSUS
from fedethics.aggregates.census.opened import OpenedCensus, opened_census
from fedethics.charter.data_terms import NOT_RECORDED
from fedethics.charter.model import Charter
from fedethics.errors import AccountingError
from fedethics.fairness import Estimate
from fedethics.fairness.estimate import two_sided
from fedethics.fairness.together import at_looks
from fedethics.release.evidence import Counted
from fedethics.release.folder import EVIDENCE, Folder
from fedethics.release.rules.bars import Bar
from fedethics.release.rules.rule import Findings, Measurement, Rule

ENOUGH = "records of each group"
ALIKE = "shares beside the reference population"


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """One group against one bar.

    Attributes:
        group: as "sex=Female".
        found: its figure, at the charter's confidence.
        surely: the same at the confidence that allows for all groups.
        low, high: what the bar allows.
    """

    group: str
    found: Estimate
    surely: Estimate
    low: float
    high: float

    @property
    def missed(self) -> bool:
        """Whether it is shown to be outside."""
        return self.surely.high < self.low or self.surely.low > self.high

    @property
    def holds(self) -> bool:
        """Whether it is shown to be inside."""
        return self.low <= self.found.low and self.found.high <= self.high

    @property
    def margin(self) -> float:
        """How far the interval is inside; below 0 where an end is not."""
        return min(self.found.low - self.low, self.high - self.found.high)


def sizes_held(census: OpenedCensus, *, looks: int = 1) -> tuple[Held, ...]:
    """Return each group against the least number of records; empty where there is no bar.

    Args:
        census: the opened sum.
        looks: by how many more the error of the sure interval is divided.
    """
    bar, layout = census.terms.minimum, census.layout
    if bar is None:
        return ()
    names = [
        (feature, group)
        for feature, groups in layout.features.items()
        for group in groups
        if group != NOT_RECORDED
    ]
    z = _surely(census, looks * len(names))
    found = {name: census.people(name) for name in layout.features}
    surely = {name: census.people(name, z=z) for name in layout.features}
    return tuple(
        Held(
            group=f"{feature}={group}",
            found=found[feature][group],
            surely=surely[feature][group],
            low=float(bar),
            high=math.inf,
        )
        for feature, group in names
    )


def shares_held(census: OpenedCensus, *, looks: int = 1) -> tuple[Held, ...]:
    """Return each group against the reference; empty where there is no bar.

    Args:
        census: the opened sum.
        looks: by how many more the error of the sure interval is divided.
    """
    bar, terms = census.terms.largest_difference, census.terms
    if bar is None:
        return ()
    z = _surely(census, looks * sum(len(one.by_group) for one in terms.reference))
    return tuple(
        Held(
            group=f"{one.feature}={group}",
            found=found,
            surely=census.shares(one.feature, z=z)[group],
            low=one.by_group[group] - bar,
            high=one.by_group[group] + bar,
        )
        for one in terms.reference
        for group, found in census.shares(one.feature).items()
    )


def _surely(census: OpenedCensus, questions: int) -> float:
    return two_sided(at_looks(census.terms.confidence, max(1, questions)))


def missed_bars(charter: Charter, counted: tuple[Counted, ...] | None) -> tuple[str, ...]:
    """Return, as sentences, which bars the opened census shows to be missed.

    Raises:
        AccountingError: the charter asks for none, or no plan follows from it.
    """
    census = opened_census(charter, counted)
    if census is None:
        return ()
    return (*_sizes(census).faults, *_shares(census).faults)


def examine(folder: Folder) -> tuple[Rule | Bar, ...]:
    """Judge the census; no rule where the charter asks for none."""
    charter, evidence = folder.charter, folder.evidence
    if charter.census is None:
        if not any(entry.kind == CENSUS.name for entry in evidence.rounds):
            return ()
        stray = "A census was taken, which the charter does not ask for."
        return (_rule(ENOUGH, Findings(faults=(stray,))),)
    try:
        census = opened_census(charter, evidence.counted)
    except AccountingError as error:
        return (_rule(ENOUGH, Findings(faults=(f"No plan follows from the charter: {error}",))),)
    if census is None:
        missing = "The charter asks for a census, and no such sum is on record."
        return (_rule(ENOUGH, Findings(gaps=(missing,))),)
    return tuple(_judged(census))


def _judged(census: OpenedCensus) -> Iterator[Rule | Bar]:
    terms = census.terms
    sizes, shares = sizes_held(census), shares_held(census)
    holds = f"Each of {len(sizes)} groups has at least {terms.minimum} records."
    rule = _rule(ENOUGH, _sizes(census), holds=holds, figure=_size_figure(census))
    yield rule if not sizes else _bar(rule, lambda looks: sizes_held(census, looks=looks))
    if shares:
        most = terms.largest_difference or 0.0
        within = f"Each of {len(shares)} groups is within {most:g} of its share of the reference."
        figure = _share_figure(shares)
        rule = _rule(ALIKE, _shares(census), holds=within, figure=figure)
        yield _bar(rule, lambda looks: shares_held(census, looks=looks))


def _bar(rule: Rule, held: Callable[[int], tuple[Held, ...]]) -> Bar:
    def missed(looks: int) -> bool:
        return any(one.missed for one in held(looks))

    return Bar(rule=rule, said=rule.sentence, fails=missed)


def _sizes(census: OpenedCensus) -> Findings:
    bar, held = census.terms.minimum, sizes_held(census)
    if bar is None:
        return Findings(
            idle=f"The census counts about {census.records():.0f} records. The charter sets no "
            "least number for a group, so this could not have failed."
        )
    said = {one.group: _said(one, digits=0) for one in held}
    return Findings(
        faults=tuple(
            f"The census shows {said[one.group]} records of {one.group}; the charter asks for at "
            f"least {bar}. Find sites that see these people before a model is trained for them."
            for one in held
            if one.missed
        ),
        gaps=tuple(
            f"The census shows {said[one.group]} records of {one.group}; whether that is at least "
            f"{bar} stays open. A larger census.epsilon, or more such records, would decide it."
            for one in held
            if not one.missed and not one.holds
        ),
    )


def _shares(census: OpenedCensus) -> Findings:
    most, held = census.terms.largest_difference or 0.0, shares_held(census)

    def told(one: Held) -> str:
        middle = (one.low + one.high) / 2
        return (
            f"The share of {one.group} is {_said(one, digits=3)}; in the reference population it "
            f"is {middle:.3f}"
        )

    return Findings(
        faults=tuple(
            f"{told(one)}, and the charter allows a difference of {most:g}."
            for one in held
            if one.missed
        ),
        gaps=tuple(
            f"{told(one)}; whether they differ by more than {most:g} stays open."
            for one in held
            if not one.missed and not one.holds
        ),
    )


def _said(one: Held, *, digits: int) -> str:
    found = one.found
    value = "no estimate" if math.isnan(found.figure) else f"{found.figure:.{digits}f}"
    return f"{value} ({found.low:.{digits}f} to {found.high:.{digits}f})"


def _size_figure(census: OpenedCensus) -> Measurement | None:
    held = sizes_held(census)
    if not held:
        return None
    worst = min(held, key=lambda one: one.margin)
    return _measured(worst.found, bar=worst.low, direction="at-least")


def _share_figure(held: tuple[Held, ...]) -> Measurement:
    """Return the share that is furthest out, beside the nearer end of what is allowed."""
    worst = min(held, key=lambda one: one.margin)
    if worst.found.low - worst.low < worst.high - worst.found.high:
        return _measured(worst.found, bar=worst.low, direction="at-least")
    return _measured(worst.found, bar=worst.high, direction="at-most")


def _measured(found: Estimate, *, bar: float, direction: str) -> Measurement:
    return Measurement(
        value=found.figure if math.isfinite(found.figure) else None,
        low=found.low,
        high=found.high,
        confidence=found.confidence,
        bar=bar,
        direction="at-least" if direction == "at-least" else "at-most",
    )


def _rule(
    name: str, findings: Findings, *, holds: str = "-", figure: Measurement | None = None
) -> Rule:
    return findings.rule(name, topic="people", holds=holds, evidence=EVIDENCE, figure=figure)
