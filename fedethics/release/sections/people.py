"""Harm first: who is affected, how many people that is, and what the verdict means for them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from fedethics.charter.data_terms import LabelColumn
from fedethics.fairness import GroupEstimate, Tables, by_group
from fedethics.fairness.measured import Measured
from fedethics.fairness.metrics import Fraction, of_class
from fedethics.fairness.partition import Partition, by_feature, everyone
from fedethics.release.folder import Folder
from fedethics.release.gate import GateReport
from fedethics.release.rules.bars import of_rules
from fedethics.release.rules.rule import Outcome
from fedethics.release.sections.block import feature_label, group_label, listed

CONFIDENCE = 0.95
HEADLINES: dict[Outcome, str] = {
    "pass": "Every rule holds",
    "fail": "Not fit for release",
    "cannot conclude": "Cannot conclude",
    "not informative": "Not informative",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Count:
    """A number of people in the opened tables; `low` and `high` hold the noise, 95 %."""

    value: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Part:
    """How many people something happened to, of how many it could have happened to."""

    number: Count
    of: Count


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """One group's people. `withheld` is the reason where the numbers may not be shown.

    Attributes:
        parts: those whom the model did wrong by, for each of `People.columns`.
    """

    name: str
    withheld: str = ""
    people: Count | None = None
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Feature:
    """The groups of one sensitive feature, and a sentence on who is missed most."""

    name: str
    groups: tuple[Group, ...]
    worst: str


@dataclass(frozen=True, kw_only=True, slots=True)
class People:
    """The report's first screen.

    Attributes:
        labels: what a record can be labelled, in words; of a yes or no, the positive one first.
        decides: how a decision is taken, in a sentence.
        columns: what the model can do wrong, as the heading of a column.
    """

    verdict: Outcome
    headline: str
    meaning: str
    harmed: str
    summary: str
    purpose: str
    population: str
    labels: str
    decides: str
    columns: tuple[str, ...]
    everyone: Group
    features: tuple[Feature, ...]
    noisy: bool


def build(folder: Folder, gate: GateReport) -> People:
    """Return the first screen's words and numbers."""
    ethics, label = folder.charter.ethics, folder.charter.data.labels
    measured = folder.tables.layout.measured
    wrongs = _wrongs(measured, label)
    all_ = _group(everyone(folder.tables), 0, "Everyone", tuple(wrongs.values()))
    return People(
        verdict=gate.verdict,
        headline=_headline(gate),
        meaning=" ".join(filter(None, (_meaning(gate), _claimed(gate)))),
        harmed=ethics.harmed,
        summary=_summary(all_, measured, label),
        purpose=ethics.purpose,
        population=ethics.reference_population,
        labels=_labels(label),
        decides=(
            "Predictions are positive at a score of "
            f"{folder.charter.privacy.evaluation.threshold:g} and above."
            if measured.thresholded
            else "The class with the highest score is predicted."
        ),
        columns=tuple(wrongs),
        everyone=all_,
        features=tuple(
            _feature(folder.tables, feature.name, label, tuple(wrongs.values()))
            for feature in folder.tables.layout.features
        ),
        noisy=folder.tables.counts_variance > 0,
    )


# More columns than these do not fit a page.
_MOST_NAMED = 4


def _wrongs(measured: Measured, label: LabelColumn) -> dict[str, str]:
    """Return the rate of each thing that the model can do wrong, by the heading of its column."""
    if measured.thresholded:
        return {
            f"Missed, of those with {label.positive_name}": "false_negative_rate",
            f"Flagged wrongly, of those with {label.negative_name}": "false_positive_rate",
        }
    if label.classes is None or _WRONG not in measured.rates:
        return {}
    of_each = {
        f"Missed, of those with {name}": of_class("false_negative_rate", name)
        for name in label.names
    }
    named = of_each if len(of_each) <= _MOST_NAMED else {}
    return {"Given a wrong class, of all": _WRONG} | named


_WRONG = "zero_one_loss"
_MOST_LISTED = 12


def _labels(label: LabelColumn) -> str:
    names = label.names if label.classes is not None else tuple(reversed(label.names))
    if len(names) > _MOST_LISTED:
        return f"one of {len(names)} classes, from {names[0]} to {names[-1]}"
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _headline(gate: GateReport) -> str:
    idle = any(rule.verdict == "not informative" for rule in gate.rules)
    if gate.verdict == "pass" and idle:
        return "Every rule that could fail holds"
    return HEADLINES[gate.verdict]


def _summary(all_: Group, measured: Measured, label: LabelColumn) -> str:
    if not (all_.people and all_.parts):
        return ""
    tested = f"The model was tested on the records of about {all_.people.value} people."
    wrong = all_.parts[0].number
    if not measured.thresholded:
        return f"{tested} It gave {_told(wrong)} of them a wrong class."
    missed, alarmed = all_.parts
    return (
        f"{tested} Of {missed.of.value} with {label.positive_name} it missed {_told(wrong)}; of "
        f"{alarmed.of.value} with {label.negative_name} it flagged {_told(alarmed.number)} wrongly."
    )


def _told(count: Count) -> str:
    if count.low == count.high:
        return str(count.value)
    return f"{count.value} ({count.low} to {count.high})"


def _meaning(gate: GateReport) -> str:
    failed = sum(rule.verdict == "fail" for rule in gate.rules)
    open_ = sum(rule.verdict == "cannot conclude" for rule in gate.rules)
    total = len(gate.rules)
    idle = [rule.name for rule in gate.rules if rule.verdict == "not informative"]
    held = f"All {total} rules hold on this evidence."
    if idle:
        held = (
            f"{total - len(idle)} of {total} rules hold on this evidence. Not informative, because "
            f"nothing could have made it fail: {listed(tuple(idle))}."
        )
    undecided = f" {open_} more cannot be decided." if open_ else ""
    return {
        "pass": (
            f"{held} This is not yet a decision to use the model on the people above: people make "
            "that decision and are responsible for it."
        ),
        "fail": (
            f"{failed} of {total} rules {'fails' if failed == 1 else 'fail'}.{undecided} This "
            "model must not be used on the people above."
        ),
        "cannot conclude": (
            f"No rule fails, but {open_} of {total} cannot be decided: the evidence does not "
            "suffice for them. It does not show that the model is safe for the people above, so "
            "on this evidence alone it must not be used on them."
        ),
        "not informative": "No rule could have failed, so nothing is known.",
    }[gate.verdict]


def _claimed(gate: GateReport) -> str:
    """Return what the verdict claims of all bars as a list, and what it does not."""
    answers = of_rules(gate.rules)
    if gate.verdict == "pass":
        sure = [each.figure.confidence or 0.0 for each in answers if each.figure]
        wrong = (1.0 - min(sure, default=1.0)) / 2.0
        return (
            f"Each of the {len(answers)} bars is met by its own interval. If any were in "
            "truth missed, the gate would still have passed with a probability of at most "
            f"{wrong:.1%}, however many bars there are. It does not mean that all the "
            "intervals hold their truths at once."
            if answers
            else ""
        )
    if any(rule.verdict == "fail" for rule in answers):
        return (
            "At least one bar is missed beyond chance, allowing for every bar of the charter that "
            "was looked at (Holm)."
        )
    return "“Cannot conclude” is not half a pass." if gate.verdict == "cannot conclude" else ""


def _feature(tables: Tables, feature: str, label: LabelColumn, wrongs: tuple[str, ...]) -> Feature:
    partition = by_feature(tables, feature)
    asked = wrongs[0] if wrongs else "count"
    missed = by_group(tables, asked, feature=feature, confidence=CONFIDENCE)
    groups = tuple(
        Group(name=group_label(name), withheld=missed[name].reason)
        if missed[name].suppressed
        else _group(partition, index, group_label(name), wrongs)
        for index, name in enumerate(partition.groups)
    )
    does = (
        f"misses {label.positive_name}"
        if tables.layout.measured.thresholded
        else "gives a wrong class"
    )
    worst = _worst(missed, does=does) if wrongs else ""
    return Feature(name=feature_label(feature), groups=groups, worst=worst)


def _group(partition: Partition, index: int, name: str, wrongs: tuple[str, ...]) -> Group:
    # As in the rates: a count that noise made negative is 0, so that no part exceeds its whole.
    cell = partition.counts[index].clip(min=0.0)
    noise = partition.counts_variance

    def count(total: float, entries: int) -> Count:
        margin = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2) * math.sqrt(noise * entries)
        return Count(
            value=round(total),
            low=max(0, math.floor(total - margin)) if noise else round(total),
            high=math.ceil(total + margin) if noise else round(total),
        )

    def part(fraction: Fraction) -> Part:
        hits = sum(float(cell[entry]) for entry in fraction.hits)
        misses = sum(float(cell[entry]) for entry in fraction.misses)
        entries = len(fraction.hits) + len(fraction.misses)
        return Part(count(hits, len(fraction.hits)), count(hits + misses, entries))

    return Group(
        name=name,
        people=count(cell.sum(), partition.measured.entries),
        parts=tuple(part(partition.measured.rates[wrong]) for wrong in wrongs),
    )


def _worst(missed: dict[str, GroupEstimate], *, does: str) -> str:
    known = [
        (group.estimate, group_label(name))
        for name, group in missed.items()
        if not math.isnan(group.estimate.figure)
    ]
    cut = [group_label(name) for name, group in missed.items() if group.estimate.cut]
    unknown = f" There is no estimate for {listed(tuple(cut))}." if cut else ""
    if len(known) < 2:
        return unknown.strip()
    most, name = max(known, key=lambda pair: pair[0].value)
    least, other = min(known, key=lambda pair: pair[0].value)
    if most.value == least.value:
        who = "every group" if len(known) == len(missed) else listed(tuple(n for _, n in known))
        return (
            f"The model {does} equally often in {who}: about "
            f"{round(100 * most.value)} in 100.{unknown}"
        )
    overlap = most.low <= least.high
    return (
        f"The model {does} most often in the group “{name}”: about "
        f"{round(100 * most.value)} in 100 ({_in_100(most.low, most.high)}); least often in "
        f"“{other}”: about {round(100 * least.value)} in 100 ({_in_100(least.low, least.high)})."
        + (" These intervals overlap, so chance alone may give this order." if overlap else "")
        + unknown
    )


def _in_100(low: float, high: float) -> str:
    return f"95 % interval {math.floor(100 * low)} to {math.ceil(100 * high)}"
