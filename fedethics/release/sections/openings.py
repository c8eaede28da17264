"""How each reader's page begins: that reader's own question, and its answer in one sentence."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fedethics.commands import suggested
from fedethics.fairness import overall as over_everyone
from fedethics.privacy.ledger.receipt import Receipt
from fedethics.release.folder import Folder
from fedethics.release.frameworks.framework import Mapped, counted, overview
from fedethics.release.gate import GateReport
from fedethics.release.rules.privacy import genuine_receipts
from fedethics.release.rules.rule import Measurement, Outcome, Rule, overall
from fedethics.release.sections import guarantee, released, spending
from fedethics.release.sections.block import (
    NO_ESTIMATE,
    Table,
    estimate_cells,
    limits,
    listed,
    number,
    shortened,
)

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


def site(folder: Folder, verdict: GateReport) -> Opening:
    """Return what a site's operator asks first: what left, what it cost, what may be done now."""
    opened, fewest = folder.evidence.rounds, folder.charter.secagg.minimum_cohort
    least = min((len(entry.survivors) for entry in opened), default=0)
    dropped = sum(len(entry.dropped) for entry in opened)
    rules = [rule for rule in verdict.rules if rule.topic in {"privacy", "integrity"}]
    run, terms = f"runs/{folder.evidence.run_id}", folder.charter.privacy
    ledger = suggested(
        "ledger", "verify", "LEDGER", "--public-key", "KEY", "--receipt", f"{run}/evidence.json"
    )
    score = suggested("release", "score", run, "--data", "new.csv", "-o", "scores.csv")
    return Opening(
        question="What did my site give, what was it charged, and what may I do with the model?",
        answer=(
            f"{len(opened)} sums were opened, each over at least {least} sites (agreed: {fewest}). "
            "Nothing else left a site in the clear."
        ),
        meaning=(
            f"Sites fell out of a sum {dropped} times. What each site was charged stands below, by "
            "its own signed receipt."
        ),
        verdict=overall(rules),
        points=(
            f"Check that your receipt is in your ledger: {ledger}",
            f"Check the release: {suggested('release', 'verify', run)}",
            f"Use it, once it is released, for its purpose and nothing else: {score}",
            *_idle(rules),
        ),
        tables={
            f"Spent in this run, by each site’s signed receipt: ε for one {terms.unit}, at delta "
            f"{terms.delta:g}": spending.by_site(folder),
        },
    )


# Those that a task measures are shown.
_SHOWN = (
    "roc_auc_score", "accuracy_score", "balanced_accuracy_score", "true_positive_rate",
    "false_positive_rate", "f1_macro", "exact_match", "mean_token_loss",
)  # fmt: skip


def performance(folder: Folder) -> Table:
    """Return how well the model does over everyone, with intervals."""
    tables = folder.tables
    known = [name for name in _SHOWN if name in tables.layout.measured.metrics]
    rows = tuple(
        (name.replace("_", " "), *estimate_cells(over_everyone(tables, name, confidence=0.95)))
        for name in known
    )
    return Table(head=("Metric", "Value", "95 % interval"), rows=rows)


def settings(folder: Folder) -> Table:
    """Return what a run like this is made from, beside its data."""
    charter = folder.charter
    model, adapter, training = charter.model, charter.adapter, charter.training
    own = charter.privacy.training
    return Table(
        head=("What", "Setting"),
        rows=(
            ("model, task", f"{model.name} ({model.sha256[:12]}), {model.task}"),
            (
                "adapter",
                f"LoRA of rank {adapter.rank}, alpha {adapter.alpha:g}, seed {adapter.seed}, on "
                f"{', '.join(adapter.targets)}",
            ),
            (
                "steps",
                f"{training.rounds} rounds of {training.local_steps}, {training.optimizer}, "
                f"learning rate {training.learning_rate:g}",
            ),
            (
                "privacy of training",
                f"{own.mechanism}, ε {own.epsilon:g}, clipping norm {own.clipping_norm:g}, "
                f"sampling rate {own.sampling_rate:g}, {own.trust_mode} trust",
            ),
            ("sites", f"{len(charter.roster)}, holding out {charter.data.holdout_fraction:.0%}"),
        ),
    )


def researcher(folder: Folder, verdict: GateReport, *, tested: str) -> Opening:
    """Return what a researcher asks first: how well it works, and how it is made again."""
    return Opening(
        question="How well does it work, at which cost, and how is it made again?",
        answer=tested or shortened(folder.charter.ethics.purpose, _LONGEST_FINDING),
        verdict=verdict.verdict,
        points=(
            f"Data: {folder.charter.data.source}",
            "Noise has no seed that is kept, so that a second run has other figures: "
            + suggested("simulate", "SCENARIO"),
            "The charter in this directory is the whole configuration; report.json has every "
            "figure of this page as data.",
            *_idle(verdict.rules),
        ),
        tables={
            "Over everyone; noise and chance are in the intervals": performance(folder),
            "Made from": settings(folder),
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
