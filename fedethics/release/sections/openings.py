"""How each reader's page begins: that reader's own question, and its answer in one sentence."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from fedethics.commands import suggested
from fedethics.privacy.ledger.receipt import Receipt
from fedethics.release.folder import Folder
from fedethics.release.gate import GateReport
from fedethics.release.rules.privacy import genuine_receipts
from fedethics.release.rules.rule import Outcome, Rule, overall
from fedethics.release.sections import mapping, released
from fedethics.release.sections.block import Table, listed, number


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """The first screen of a page.

    Attributes:
        question: what this reader answers for.
        answer: in one sentence, from the evidence.
        meaning: the answer once more, as it matters to people; may be empty.
        verdict: of the rules that the answer rests on.
        points: what the answer means and what it rests on, a sentence each.
    """

    question: str
    answer: str
    meaning: str = ""
    verdict: Outcome
    points: tuple[str, ...]


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
            *_idle(rules),
        ),
    )


def regulator(folder: Folder, verdict: GateReport, *, annex_iv: Table) -> Opening:
    """Return what a regulator asks first: what is answered here, and who vouches for it."""
    answers = [row[2] for row in annex_iv.rows]
    here, partly, absent = (
        answers.count(kind) for kind in (mapping.HERE, mapping.PARTLY, mapping.ABSENT)
    )
    return Opening(
        question="What can be examined here from outside, and what is missing?",
        answer=(
            f"Of {len(answers)} items of Annex IV, {here} are answered here, {partly} in part and "
            f"{absent} not at all."
        ),
        verdict=verdict.verdict,
        points=(
            released.summary(folder),
            "Every figure follows from the charter and the evidence in this directory, offline: "
            + suggested("release", "verify", f"runs/{folder.evidence.run_id}"),
            *_idle(verdict.rules),
        ),
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
