"""How each reader's page begins: that reader's own question, and its answer in one sentence."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fedethics.commands import suggested
from fedethics.privacy.ledger.receipt import Receipt
from fedethics.release.folder import Folder
from fedethics.release.frameworks.framework import Mapped, counted, overview
from fedethics.release.gate import GateReport
from fedethics.release.rules.privacy import genuine_receipts
from fedethics.release.rules.rule import Measurement, Outcome, Rule, overall
from fedethics.release.sections import guarantee, released, spending
from fedethics.release.sections.block import NO_ESTIMATE, Table, limits, listed, number, shortened

# Of rules that do not hold, as many as a first screen shows.
MOST_NAMED = 6
_LONGEST_FINDING = 180


@dataclass(frozen=True, kw_only=True, slots=True)
class Unsettled:
    """A rule that failed or that cannot be decided, as a first screen names it.

    Attributes:
        name: the rule's name, in words.
        found: its figure, interval and bar; of a rule without a figure, the start of its sentence.
    """

    name: str
    verdict: Outcome
    found: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """The first screen of a page.

    Attributes:
        question: what this reader answers for.
        answer: in one sentence, from the evidence.
        meaning: the answer once more, as it matters to people; may be empty.
        verdict: of the rules that the answer rests on.
        points: what the answer means and what it rests on, a sentence each.
        tables: the figures that answer, by caption.
    """

    question: str
    answer: str
    meaning: str = ""
    verdict: Outcome
    points: tuple[str, ...]
    tables: Mapping[str, Table]


def unsettled(gate: GateReport) -> tuple[Unsettled, ...]:
    """Return what does not hold, by name: failed rules first, then those without a decision."""
    order: tuple[Outcome, ...] = ("fail", "cannot conclude")
    return tuple(
        Unsettled(name=rule.name.replace("_", " "), verdict=verdict, found=_found(rule))
        for verdict in order
        for rule in gate.rules
        if rule.verdict == verdict
    )


def _found(rule: Rule) -> str:
    figure = rule.figure
    if figure is None or figure.bar is None or (figure.low is None and figure.value is None):
        return shortened(rule.sentence, _LONGEST_FINDING)
    asked = f"agreed: {figure.direction.replace('-', ' ')} {figure.bar:g}"
    return f"{_value(figure)}; {asked}"


def _value(figure: Measurement) -> str:
    value = NO_ESTIMATE if figure.value is None else number(figure.value)
    if figure.confidence is None:
        return value
    sure = f"{figure.confidence * 100:g} % interval"
    return f"{value} ({sure} {limits(figure.low, figure.high)})"


def privacy(folder: Folder, verdict: GateReport, *, bound: str) -> Opening:
    """Return what a privacy officer asks first: what one person's record can lose, and who paid."""
    rules = [rule for rule in verdict.rules if rule.topic == "privacy"]
    terms, unit = folder.charter.privacy, folder.charter.privacy.unit
    return Opening(
        question=f"What can this release reveal about one {unit}, and did the budget pay for it?",
        answer=_paid(folder) if overall(rules) == "pass" else _not_shown(rules),
        meaning=bound,
        verdict=overall(rules),
        points=(
            f"For one {unit}, {terms.neighbouring}, at delta {terms.delta:g}; "
            f"{terms.training.trust_mode} trust for training, {terms.evaluation.trust_mode} trust "
            "for evaluation.",
            "Your own cap for ever is in your policy and in no release. See what it leaves: "
            + suggested("budget", "what-if", "CHARTER", "--ledger", "HOME", "--policy", "POLICY"),
            *_idle(rules),
        ),
        tables=privacy_tables(folder),
    )


def privacy_tables(folder: Folder) -> dict[str, Table]:
    """Return what was spent, what it means for a person, and what it leaves of a data set."""
    terms = folder.charter.privacy
    what = f"for one {terms.unit}, {terms.neighbouring}, at delta {terms.delta:g}"
    return {
        f"Spent in this run, by each site’s signed receipt: ε {what}": spending.by_site(folder),
        "Promised to a person with so many records (group privacy): the largest ε, and the largest "
        f"share that an attacker finds, at delta {terms.delta:g}": (
            guarantee.several_records(folder)
        ),
        "What a lifetime cap leaves: ε after so many runs of this charter on the same records": (
            guarantee.lifetime(folder)
        ),
    }


def regulator(folder: Folder, verdict: GateReport, *, mapped: tuple[Mapped, ...]) -> Opening:
    """Return what a regulator asks first: what is answered here, and who vouches for it."""
    annex = mapped[0]
    here, partly, absent = counted(annex.table)
    return Opening(
        question="What can be examined here from outside, and what is missing?",
        answer=(
            f"Of {len(annex.table.rows)} items of Annex IV, {here} are answered here, {partly} in "
            f"part and {absent} not at all."
        ),
        verdict=verdict.verdict,
        points=(
            released.summary(folder),
            "Every figure follows from the charter and the evidence in this directory, offline: "
            + suggested("release", "verify", f"runs/{folder.evidence.run_id}"),
            *_idle(verdict.rules),
        ),
        tables={
            "How many items are answered here, and which are not": overview(mapped),
        },
    )


def _paid(folder: Folder) -> str:
    receipts = genuine_receipts(folder)
    terms, sites = folder.charter.privacy, len(folder.charter.roster)

    def most(of: Callable[[Receipt], float | None]) -> str:
        spent = [of(receipt) for receipt in receipts.values()]
        worst = max((math.inf if one is None else one for one in spent), default=math.inf)
        return number(worst) if math.isfinite(worst) else "∞"

    training = most(lambda receipt: receipt.training_epsilon)
    evaluation = most(lambda receipt: receipt.evaluation_epsilon)
    return (
        f"At all {sites} sites this run spent no more than was agreed: at most ε {training} of "
        f"{terms.training.epsilon:g} on what was trained on, and {evaluation} of "
        f"{terms.evaluation.epsilon:g} on what was held out."
    )


def _not_shown(rules: list[Rule]) -> str:
    failed = tuple(rule.name for rule in rules if rule.verdict == "fail")
    if failed:
        return f"The promise was not kept: {listed(failed)}."
    undecided = tuple(rule.name for rule in rules if rule.verdict == "cannot conclude")
    return f"It is not shown that the promise was kept: {listed(undecided)}."


def _idle(rules: list[Rule] | tuple[Rule, ...]) -> tuple[str, ...]:
    return tuple(
        f"Not informative: {rule.name}. {rule.sentence}"
        for rule in rules
        if rule.verdict == "not informative"
    )
