"""What a site's counts mean: what would be refused, what to look at, and what can be done."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from fedethics.charter.data_terms import DataTerms
from fedethics.data.agreement import RELIABLE, TENTATIVE
from fedethics.data.facts import Facts, GroupCount
from fedethics.data.records import beyond

# Groups under this size are withheld from reports, if all sites together have no more.
SMALL_GROUP = 11
MUCH_MISSING = 0.2
MANY_DROPPED = 0.05
RARE_LABEL = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing to know.

    Attributes:
        weight: "error": a run would refuse the file; "warning": look before you join; "note".
        topic: schema, missing, persons, groups, labels, repeats or annotation.
        sentence: what was found, and what can be done.
    """

    weight: Literal["error", "warning", "note"]
    topic: str
    sentence: str


def findings(facts: Facts, terms: DataTerms) -> tuple[Finding, ...]:
    """Return everything worth knowing, errors first."""
    found = [
        *(Finding(weight="error", topic="schema", sentence=said) for said in facts.errors),
        *_missing(facts, terms),
        *_persons(facts, terms),
        *_groups(facts, terms),
        *_labels(facts, terms),
        *_repeats(facts, terms),
        *_annotation(facts),
    ]
    order = ("error", "warning", "note")
    return tuple(sorted(found, key=lambda finding: order.index(finding.weight)))


def _missing(facts: Facts, terms: DataTerms) -> Iterator[Finding]:
    columns_of_groups = {feature.column for feature in terms.sensitive}
    for missing in facts.missing:
        share = (missing.empty + missing.not_recorded) / max(facts.rows, 1)
        if share <= MUCH_MISSING:
            continue
        if missing.column in columns_of_groups:
            yield Finding(
                weight="warning",
                topic="missing",
                sentence=f"{missing.column} is a group column, and {share:.0%} of the rows have no "
                "value in it: figures by it describe the others only. Collect it, or say in the "
                "charter's not-measured that it is missing",
            )
        else:
            yield Finding(
                weight="note",
                topic="missing",
                sentence=f"{missing.column}: {share:.0%} of the rows have no value in it",
            )
    asked = (beyond(terms), f"{terms.labels.column} is empty")
    gaps = {why: count for why, count in facts.dropped.items() if why not in asked}
    left_out = sum(gaps.values())
    if left_out > MANY_DROPPED * facts.rows:
        reasons = "; ".join(f"{count}: {why}" for why, count in gaps.items())
        yield Finding(
            weight="warning",
            topic="missing",
            sentence=f"{left_out} of {facts.rows} rows are left out ({reasons}). People with "
            'missing values often differ from the others; on-empty = "say" in the charter would '
            "keep them",
        )


def _persons(facts: Facts, terms: DataTerms) -> Iterator[Finding]:
    left_out = facts.dropped.get(beyond(terms), 0)
    if left_out > MANY_DROPPED * facts.rows:
        yield Finding(
            weight="warning",
            topic="persons",
            sentence=f"{left_out} of {facts.rows} rows are left out, because the charter uses "
            f"{terms.max_rows_per_person} of each person's rows (data.max-rows-per-person) and the "
            f"ids in {terms.person} name {facts.persons} persons. If that number is right, the "
            "charter could allow more rows at the price of more noise; if it is wrong, mend the "
            "ids",
        )
    if facts.persons < facts.ids:
        yield Finding(
            weight="warning",
            topic="persons",
            sentence=f"{facts.ids} different ids in {terms.person} name {facts.persons} persons: "
            "ids that are the same number, as 7, 007 and 7.0, count as one person. If they are "
            "different people, put a letter before the ids",
        )
    if facts.rounded:
        yield Finding(
            weight="warning",
            topic="persons",
            sentence=f"{facts.rounded} ids in {terms.person} are written as 9.9E+17, as "
            "spreadsheet programs write long numbers: digits are lost, and different people may "
            "have the same id. Export the column as text",
        )


def _groups(facts: Facts, terms: DataTerms) -> Iterator[Finding]:
    for feature, group_counts in groupby(facts.groups, key=lambda count: count.feature):
        counts = list(group_counts)
        present = [count for count in counts if count.train + count.held_out]
        if len(present) == 1:
            yield Finding(
                weight="warning",
                topic="groups",
                sentence=f"every record here is of one group by {feature} ({present[0].group}): "
                "this site says nothing about a gap. If no other site has the group, the sum of "
                "all sites is this site's figure with noise. Agree with the others on groups that "
                "at least three sites have",
            )
        for count in counts:
            yield from _one_group(count, facts.classes)


def _one_group(count: GroupCount, classes: tuple[str, ...]) -> Iterator[Finding]:
    name = f"{count.feature}: {count.group}"
    if not count.train + count.held_out:
        yield Finding(
            weight="note", topic="groups", sentence=f"{name}: no record here; other sites may have"
        )
    elif count.held_out < SMALL_GROUP:
        yield Finding(
            weight="note",
            topic="groups",
            sentence=f"{name}: {count.held_out} held-out records, too few to be shown unless "
            "other sites add records",
        )
    elif count.held_out_positive is None:
        lacking = [one for one, n in zip(classes, count.held_out_classes, strict=True) if n == 0]
        if lacking:
            more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
            yield Finding(
                weight="note",
                topic="labels",
                sentence=f"{name}: no record among the {count.held_out} held-out ones is of "
                f"{', '.join(lacking[:5])}{more}",
            )
    elif count.held_out_positive in (0, count.held_out):
        which = "no" if count.held_out_positive == 0 else "only"
        yield Finding(
            weight="note",
            topic="labels",
            sentence=f"{name}: {which} positive labels among the {count.held_out} held-out records",
        )


def _labels(facts: Facts, terms: DataTerms) -> Iterator[Finding]:
    # Labels are counted within groups; a charter without groups leaves them to the census.
    if not facts.records or terms.label is None or not facts.groups:
        return
    feature = facts.groups[0].feature
    one = [count for count in facts.groups if count.feature == feature]
    of_class = [
        sum(n) for n in zip(*(c.train_classes + c.held_out_classes for c in one), strict=True)
    ]
    count = len(facts.classes)
    totals = [of_class[k] + of_class[k + count] for k in range(count)]
    rest = 1 - max(totals) / facts.records
    if count > 1 and rest < RARE_LABEL:
        rarer = "the rarer label makes" if count == 2 else "all labels but one make"
        never = "never says it" if count == 2 else "always predicts that one"
        yield Finding(
            weight="warning",
            topic="labels",
            sentence=f"{rarer} up {rest:.1%} of the records: a model that {never} is nearly always "
            "right. Judge by areas and rates, not by accuracy",
        )


def _repeats(facts: Facts, terms: DataTerms) -> Iterator[Finding]:
    repeats = facts.repeats
    if repeats is None:
        return
    if repeats.rows:
        yield Finding(
            weight="warning",
            topic="repeats",
            sentence=f"{repeats.rows} rows repeat another one in every column. If they are one "
            "person's, the guarantee for one record does not cover that person: remove them",
        )
    # Where a text is made of a few columns, people may share it; free text hardly by chance.
    told = any(column.kind == "text" and column.phrase for column in terms.columns)
    free = told or terms.content is not None
    weight: Literal["warning", "note"] = "warning" if free else "note"
    if repeats.leaked:
        yield Finding(
            weight=weight,
            topic="repeats",
            sentence=f"{repeats.leaked} held-out records have a text that is also among "
            "the training records (except for case and spaces): results on them are too good",
        )
    if repeats.contradictions:
        yield Finding(
            weight=weight,
            topic="labels",
            sentence=f"{repeats.contradictions} texts have more than one label: check how "
            "they were labelled",
        )


def _annotation(facts: Facts) -> Iterator[Finding]:
    for name, agreement in facts.agreement.items():
        alpha = agreement.alpha()
        if math.isnan(alpha) or alpha >= RELIABLE:
            continue
        tentative = alpha >= TENTATIVE
        yield Finding(
            weight="note" if tentative else "warning",
            topic="annotation",
            sentence=f"{name}: annotators agree with alpha {alpha:.3f} over {agreement.items} "
            f"records, below {RELIABLE if tentative else TENTATIVE:g}: "
            + (
                "draw tentative conclusions only"
                if tentative
                else "the labels are too uncertain to judge a model by; mend the guidelines and "
                "annotate again"
            ),
        )
