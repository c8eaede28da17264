"""How records were labelled: who, by which guideline, and how far the labels must agree."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from fedethics.charter.data_terms import DataTerms
from fedethics.charter.privacy_terms import LARGEST_EPSILON, PrivacyTerms
from fedethics.charter.spelling import exact_number
from fedethics.terms import KEY, term

Level: TypeAlias = Literal["nominal", "ordinal", "interval"]
Adjudication: TypeAlias = Literal["majority", "dawid-skene", "adjudicator"]
# A record moves the sum by as many steps as the least common multiple of all smaller numbers.
MOST_ANNOTATORS = 7
MOST_LABELS = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class AnnotationTerms:
    """The annotators' labels of each record, and the agreement that is asked for over all sites.

    Attributes:
        annotators: columns of the site's file with one annotator's label each; an empty cell is
            no label. Columns are seats, not people: who sits in one may change from row to row.
        labels: what an annotator may say; in their order where the level is "ordinal", numbers
            where it is "interval".
        level: how far apart two labels are: equal or not; by rank; by their difference.
        guideline: the annotators' guideline; or `guideline_sha256`, the hash of a longer text.
        bar: the lowest Krippendorff's alpha at which a release can pass; absent for none.
        confidence: of alpha's interval.
        per_record: labels that a record needs before it is decided; absent for one.
        adjudication: how several labels become one: "majority"; "dawid-skene", which weighs
            annotators by their errors; "adjudicator", who settles what is not unanimous.
        adjudicator: of that method: the person, as the labelling tool names them.
        unresolved: a record that is not decided: "leave-out" of the file, or "keep" it without a
            label.
        by: sensitive feature by whose groups the labels are counted apart, so that agreement is
            known by the group of the record's subject; absent for everyone together. Everyone's
            figure then has as many times the noise.
        group_bar: the lowest alpha of each group at which a release can pass; absent for none.
        epsilon: what the sum costs each record, out of `privacy.training.epsilon` or
            `privacy.evaluation.epsilon`, whichever it pays from.
    """

    annotators: tuple[str, ...] = term(nonempty=True)
    labels: tuple[str, ...] = term(nonempty=True)
    level: Level = term(default="nominal")
    guideline: str = term(default="", prose=True)
    guideline_sha256: str = term(default="", pattern=f"({KEY})?")
    bar: float | None = term(default=None, above=0, below=1)
    confidence: float = term(default=0.95, at_least=0.5, at_most=0.999)
    per_record: int | None = term(default=None, at_least=1, at_most=MOST_ANNOTATORS)
    adjudication: Adjudication | None = term(default=None)
    adjudicator: str | None = term(default=None, nonempty=True)
    unresolved: Literal["leave-out", "keep"] | None = term(default=None)
    by: str | None = term(default=None, nonempty=True)
    group_bar: float | None = term(default=None, above=0, below=1)
    epsilon: float = term(default=0.25, at_least=0.02, at_most=LARGEST_EPSILON)

    @property
    def values(self) -> tuple[float, ...]:
        """The labels as numbers: themselves where the level is "interval", else their places."""
        if self.level == "interval":
            return tuple(map(float, self.labels))
        return tuple(map(float, range(len(self.labels))))

    @property
    def steps(self) -> int:
        """Steps in which coincidences are counted: a record of m labels adds multiples of 1/(m-1).

        So every record's part is a whole number, and the sum is exact.
        """
        return math.lcm(*range(1, len(self.annotators)))

    @property
    def sensitivity(self) -> int:
        """By how much, in steps and added up over all entries, one record can move the sum."""
        return len(self.annotators) * self.steps

    def problems(self) -> list[str]:
        """Refuse terms that cannot be counted or followed."""
        found: list[str] = []
        for key, given, most in (
            ("annotators", self.annotators, MOST_ANNOTATORS),
            ("labels", self.labels, MOST_LABELS),
        ):
            if not 2 <= len(given) <= most:
                found.append(f"{key}: {len(given)} of them; expected 2 to {most}")
            spelled = [exact_number(one) or one for one in given] if key == "labels" else given
            if len(set(spelled)) < len(given):
                found.append(f"{key}: one is listed twice")
            if any(one != one.strip() or not one for one in given):
                found.append(f"{key}: one is empty, or has a blank at an end")
        numbers = [exact_number(one) is not None for one in self.labels]
        if self.level == "interval" and not all(numbers):
            found.append('labels: level "interval" needs numbers')
        if bool(self.guideline.strip()) == bool(self.guideline_sha256):
            found.append(
                "guideline: give its text, or guideline-sha256, the SHA-256 of a longer one; the "
                "guideline is part of what is signed"
            )
        if self.group_bar is not None and self.by is None:
            found.append("group-bar: `by` names no feature whose groups are counted apart")
        found.extend(self._adjudication_problems())
        return found

    def _adjudication_problems(self) -> Iterator[str]:
        if self.per_record is not None and self.per_record > len(self.annotators):
            yield (
                f"per-record: {self.per_record} labels, and there are {len(self.annotators)} "
                "annotators' columns"
            )
        if (self.adjudication == "adjudicator") != (self.adjudicator is not None):
            yield (
                'adjudicator: name the person with adjudication = "adjudicator", and only with it'
            )
        if self.adjudication is None and self.unresolved is not None:
            yield "unresolved: nothing is decided without adjudication"


def annotation_rule(
    annotation: AnnotationTerms, data: DataTerms, privacy: PrivacyTerms
) -> Iterator[str]:
    """Yield what is wrong between the annotation, the columns and the budgets."""
    read = {column.name for column in data.columns} | {data.person}
    read |= set(data.content.fields) if data.content else set()
    if told := sorted(read & set(annotation.annotators)):
        yield (
            f"annotation.annotators: {', '.join(told)} is a column that the model reads or that "
            "identifies persons; a column of annotators' labels must be neither"
        )
    if annotation.by is not None and annotation.by not in {one.name for one in data.sensitive}:
        yield f"annotation.by: {annotation.by!r} is not a sensitive feature"
    if annotation.adjudication is not None:
        known = set() if data.label is None else set(data.label.by_cell)
        if unknown := [one for one in annotation.labels if one not in known]:
            yield (
                f"annotation.labels: {', '.join(unknown)} is no value of data.label, which "
                "adjudication is to fill"
            )
    training, evaluation = privacy.training, privacy.evaluation
    for name, terms in (("training", training), ("evaluation", evaluation)):
        if terms.mechanism != "none" and annotation.epsilon >= terms.epsilon:
            yield (
                f"annotation.epsilon {annotation.epsilon:g} uses up privacy.{name}.epsilon "
                f"{terms.epsilon:g}"
            )
    if training.mechanism != "none" and evaluation.mechanism == "none":
        yield (
            "annotation counts trained records with the noise of privacy.evaluation.mechanism, "
            'which is "none": the training would not be differentially private'
        )
