"""Harm first: who is affected, how many people that is, and what the verdict means for them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from fedethics.charter.data_terms import LabelColumn
from fedethics.fairness import GroupEstimate, Tables, by_group
from fedethics.fairness.partition import Partition, by_feature, everyone
from fedethics.release.folder import Folder
from fedethics.release.gate import GateReport
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """One group's people. `withheld` is the reason where the numbers may not be shown.

    Attributes:
        positives, negatives: people with the label, and without.
        missed: positives that the model did not flag.
        alarmed: negatives that it flagged.
    """

    name: str
    withheld: str = ""
    people: Count | None = None
    positives: Count | None = None
    missed: Count | None = None
    negatives: Count | None = None
    alarmed: Count | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Feature:
    """The groups of one sensitive feature, and a sentence on who is missed most."""

    name: str
    groups: tuple[Group, ...]
    worst: str


@dataclass(frozen=True, kw_only=True, slots=True)
class People:
    """The report's first screen."""

    verdict: Outcome
    headline: str
    meaning: str
    harmed: str
    summary: str
    purpose: str
    population: str
    positive: str
    negative: str
    everyone: Group
    features: tuple[Feature, ...]
    noisy: bool


def build(folder: Folder, gate: GateReport) -> People:
    """Return the first screen's words and numbers."""
    ethics, label = folder.charter.ethics, folder.charter.data.labels
    all_ = _group(everyone(folder.tables), 0, "Everyone")
    return People(
        verdict=gate.verdict,
        headline=_headline(gate),
        meaning=_meaning(gate),
        harmed=ethics.harmed,
        summary=_summary(all_, label),
        purpose=ethics.purpose,
        population=ethics.reference_population,
        positive=label.positive_name,
        negative=label.negative_name,
        everyone=all_,
        features=tuple(
            _feature(folder.tables, feature.name, label.positive_name)
            for feature in folder.tables.layout.features
        ),
        noisy=folder.tables.counts_variance > 0,
    )


def _headline(gate: GateReport) -> str:
    idle = any(rule.verdict == "not informative" for rule in gate.rules)
    if gate.verdict == "pass" and idle:
        return "Every rule that could fail holds"
    return HEADLINES[gate.verdict]


def _summary(all_: Group, label: LabelColumn) -> str:
    if not (all_.people and all_.positives and all_.missed and all_.negatives and all_.alarmed):
        return ""
    return (
        f"The model was tested on the records of about {all_.people.value} people. Of "
        f"{all_.positives.value} with {label.positive_name} it missed {_told(all_.missed)}; of "
        f"{all_.negatives.value} with {label.negative_name} it flagged {_told(all_.alarmed)} for "
        "nothing."
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
            f"{total - len(idle)} of {total} rules hold on this evidence. Not informative, since "
            f"nothing could have made it fail: {listed(tuple(idle))}."
        )
    undecided = f" {open_} more cannot be decided." if open_ else ""
    return {
        "pass": (
            f"{held} That is not yet a decision to use the "
            "model on the people above: people take that decision, and answer for it."
        ),
        "fail": (
            f"{failed} of {total} rules {'fails' if failed == 1 else 'fail'}.{undecided} This "
            "model must not be used on the people above."
        ),
        "cannot conclude": (
            f"No rule fails, but {open_} of {total} cannot be decided: for what they ask, the "
            "evidence is too thin. Nobody can say on it that the model is safe for the people "
            "above, so on this evidence alone it must not be used on them."
        ),
        "not informative": "No rule could have failed, so nothing is known.",
    }[gate.verdict]


def _feature(tables: Tables, feature: str, positive: str) -> Feature:
    partition = by_feature(tables, feature)
    decided = tables.layout.measured.thresholded
    asked = "false_negative_rate" if decided else "count"
    missed = by_group(tables, asked, feature=feature, confidence=CONFIDENCE)
    groups = tuple(
        Group(name=group_label(name), withheld=missed[name].reason)
        if missed[name].suppressed
        else _group(partition, index, group_label(name))
        for index, name in enumerate(partition.groups)
    )
    worst = _worst(missed, positive=positive) if decided else ""
    return Feature(name=feature_label(feature), groups=groups, worst=worst)


def _group(partition: Partition, index: int, name: str) -> Group:
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

    people = count(cell.sum(), partition.measured.entries)
    if not partition.measured.thresholded:
        return Group(name=name, people=people)
    return Group(
        name=name,
        people=people,
        positives=count(cell[1].sum(), 2),
        missed=count(cell[1, 0], 1),
        negatives=count(cell[0].sum(), 2),
        alarmed=count(cell[0, 1], 1),
    )


def _worst(missed: dict[str, GroupEstimate], *, positive: str) -> str:
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
            f"The model misses {positive} equally often in {who}: about "
            f"{round(100 * most.value)} in 100.{unknown}"
        )
    overlap = most.low <= least.high
    return (
        f"The model misses {positive} most often in the group “{name}”: about "
        f"{round(100 * most.value)} in 100 ({_in_100(most.low, most.high)}); least often in "
        f"“{other}”: about {round(100 * least.value)} in 100 ({_in_100(least.low, least.high)})."
        + (" These intervals overlap, so chance alone may give this order." if overlap else "")
        + unknown
    )


def _in_100(low: float, high: float) -> str:
    return f"95 % interval {math.floor(100 * low)} to {math.ceil(100 * high)}"
