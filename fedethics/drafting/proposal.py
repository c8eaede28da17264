"""What a draft proposes for records: columns, label, groups, sites, and how it is trained."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedethics import texts
from fedethics.charter.annotation_terms import MOST_ANNOTATORS, MOST_LABELS
from fedethics.charter.data_terms import MOST_CLASSES, NO_LABEL, ContentTerms, LabelColumn
from fedethics.charter.spelling import NO, YES, exact_number
from fedethics.data.file_terms import DataFile
from fedethics.data.records import person_hash
from fedethics.drafting.base_model import BaseLines
from fedethics.drafting.columns import (
    FoundColumn,
    LeftOut,
    distinct,
    found_column,
    repeating_id,
    spellings,
    words,
)
from fedethics.drafting.content import bounded
from fedethics.drafting.deciding import Decision
from fedethics.drafting.groups import FoundFeature, found_feature
from fedethics.drafting.source import Source
from fedethics.drafting.tasks import CLASSIFICATION, DraftTask
from fedethics.errors import DataError
from fedethics.simulation.partition import Partitioner, Row, Taker, deal

FEWEST_SITES, MOST_SITES = 3, 100
HOLDOUT = 0.34
EPSILON = 3.0
_RECORDS_A_STEP = 1000
_MOST_RATE, _LEAST_RATE = 0.5, 0.01
# Columns that the model reads; with more, a record's text is longer than what it reads of it.
MOST_COLUMNS = 64
# Of the rows, so many are kept where each person has the most that are used.
_ROWS_KEPT = 0.8
_POSITIVE = YES | {"positive", "pos", "case", "ill", "sick"}
_SENSITIVE = frozenset(
    {"sex", "gender", "age", "race", "ethnicity", "religion", "nationality", "disability",
     "marital_status"}
)  # fmt: skip
_NO_NAME = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What a person asked for.

    Attributes:
        label: column to be predicted; empty for a task that learns from the text alone.
        task: what is learnt.
        content: where the free text of such a task stands.
        person: column that says whose record it is; empty where each record is of another person.
        columns: those that the model may read; none for all.
        annotators: columns with one annotator's label each.
        chat_template: of conversations; empty for the model's own.
        decided: what a person was asked, or was not asked.
        drop_unlabelled: leave out the records without a label, in place of an error.
        text: columns of free text.
        sensitive: columns to compare groups by; none for those that are known by their name.
        split: number of simulated sites; used where `sites` is empty and the records are not
            those of sites already.
        sites: column whose values are the sites.
        name: of charter and scenario.
        industry: of the charter.
        own_model: the base model in a folder; None for the task's embedded one.
    """

    label: str = ""
    task: DraftTask = CLASSIFICATION
    content: ContentTerms | None = None
    person: str = ""
    columns: tuple[str, ...] = ()
    annotators: tuple[str, ...] = ()
    chat_template: str = ""
    decided: tuple[Decision, ...] = ()
    drop_unlabelled: bool = False
    text: tuple[str, ...] = ()
    sensitive: tuple[str, ...] = ()
    split: int = 4
    sites: str = ""
    name: str
    industry: str = "healthcare"
    own_model: BaseLines | None = None

    @property
    def model(self) -> BaseLines:
        """The base model."""
        return self.own_model or self.task.model

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that are asked for by name.

        Raises:
            DataError: one is asked for twice.
        """
        content = [] if self.content is None else self.content.fields
        named = [
            *filter(None, [self.label, self.sites, self.person]),
            *(name for name in self.text if name not in content), *self.sensitive,
            *self.annotators,
        ]  # fmt: skip
        if len(set(named)) < len(named):
            raise DataError("a column is named twice; each has one use. Nothing was written")
        return (*named, *(name for name in self.columns if name not in named))


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """Everything that was decided. Sensitive: the rows are records, and sizes are exact.

    Attributes:
        label: as the charter would have it; None for a task that learns from the text alone.
        label_counts: records of each value of the label.
        content: where free text stands, with limits above the longest record.
        most_rows: of a person that are used.
        repeated: records that are the same as an earlier one of their site.
        shared: records that stand at two sites or more.
        columns: those that are read, in the file's order.
        features: the sensitive ones, with their groups.
        left_out: columns that are not read.
        rows: of each site, all columns.
        records: in all, less the unlabelled.
        unlabelled: records among the rows that a run leaves out because they have no label.
        guessed: whether the sensitive columns were found by their names.
        dealt: whether the records came as those of sites.
        annotated: labels that annotators gave, in order; none without annotators' columns.
        files: that they came from, and how each was read.
    """

    wish: Wish
    label: LabelColumn | None
    label_counts: Mapping[str, int]
    columns: tuple[FoundColumn, ...]
    features: tuple[FoundFeature, ...]
    left_out: tuple[LeftOut, ...]
    rows: Mapping[str, Sequence[Row]]
    records: int
    unlabelled: int
    guessed: bool
    dealt: bool
    files: tuple[DataFile, ...]
    content: ContentTerms | None
    most_rows: int
    repeated: int
    shared: int
    annotated: tuple[str, ...] = ()

    @property
    def labels(self) -> LabelColumn:
        """The label, or `NO_LABEL`."""
        return self.label or NO_LABEL

    @property
    def sampling_rate(self) -> float:
        """Share of the training records in a step: a thousand over all sites, half at most."""
        training = self.records * (1 - HOLDOUT)
        rate = min(_MOST_RATE, max(_LEAST_RATE, _RECORDS_A_STEP / training))
        return round(rate, 2)

    @property
    def delta(self) -> float:
        """A power of ten at most a tenth of one over the records of any site."""
        largest = max(map(len, self.rows.values()))
        return float(10.0 ** -max(4, len(str(largest)) + 1))


def propose(wish: Wish, source: Source) -> Proposal:
    """Decide what a first draft says of records.

    Raises:
        DataError: the label has one value, more than 1,000, or empty cells, a sensitive column has
            no usable groups, no column is left for the text, or too many, or too few or too many
            sites.
    """
    whole = list(source.each())
    rows = whole
    label, counts = None, dict[str, int]()
    if wish.label:
        rows = [row for row in whole if row[wish.label] or not wish.drop_unlabelled]
        label, counts = _label(wish.label, [row[wish.label] for row in rows])
    content = None
    if wish.content is not None:
        content = bounded(wish.content, whole, called=source.called)
    sensitive = wish.sensitive or _by_name(rows[0], wish)
    features = tuple(found_feature(name, [row[name] for row in rows]) for name in sensitive)
    if len({feature.terms.name for feature in features}) < len(features):
        raise DataError(
            f"sensitive columns {', '.join(sensitive)}: two names are the same in small letters, "
            "digits and underscores, as a feature is named. Rename one. Nothing was written"
        )
    kept, left_out = _columns(wish, rows, {one.column.terms.name: one.column for one in features})
    told = sum(bool(found.terms.phrase) for found in kept)
    if not told and content is None:
        raise DataError(
            f"{source.called}: no column is left for the model to read, apart from the label, the "
            "sensitive columns and those without use. Nothing was written"
        )
    if told > MOST_COLUMNS:
        raise DataError(
            f"{source.called}: {told} columns for the model to read, and a text of more than "
            f"{MOST_COLUMNS} is longer than what it reads of a record. Name those that matter: "
            "--columns. Nothing was written"
        )
    left_out += [LeftOut(name=name, why=why) for name, why in source.not_everywhere.items()]
    dealt = _as_they_are(source.rows) if source.dealt else _dealt(wish, whole, source.called)
    return Proposal(
        wish=wish, label=label, label_counts=counts, columns=tuple(kept), features=features,
        left_out=tuple(left_out), rows=dealt, content=content,
        most_rows=_most_rows(wish.person, rows) if wish.person else 1,
        repeated=sum(len(held) - len({tuple(row.items()) for row in held})
                     for held in dealt.values()),
        shared=source.shared, annotated=_annotated(wish, rows),
        records=len(rows),
        unlabelled=len(whole) - len(rows),
        guessed=not wish.sensitive,
        dealt=source.dealt,
        files=source.files,
    )  # fmt: skip


def _columns(
    wish: Wish, rows: Sequence[Row], sensitive: Mapping[str, FoundColumn]
) -> tuple[list[FoundColumn], list[LeftOut]]:
    """Return the columns that are read, in their order, and those that are not."""
    kept: list[FoundColumn] = []
    left_out: list[LeftOut] = []
    content = () if wish.content is None else wish.content.fields
    for name in rows[0]:
        if name in (wish.label, wish.sites, wish.person, *content):
            continue
        found = sensitive.get(name) or _unread(name, wish) or found_column(
            name, [row[name] for row in rows], free_text=name in wish.text
        )  # fmt: skip
        kept += [found] if isinstance(found, FoundColumn) else []
        left_out += [found] if isinstance(found, LeftOut) else []
    return kept, left_out


def _unread(name: str, wish: Wish) -> LeftOut | None:
    if name in wish.annotators:
        return LeftOut(name=name, why="an annotator's label, for the count of agreement")
    if wish.content is not None:
        return LeftOut(name=name, why="the model reads the content alone")
    if wish.columns and name not in (*wish.columns, *wish.text):
        return LeftOut(name=name, why="not among --columns")
    return None


def _annotated(wish: Wish, rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the labels in the annotators' columns.

    Raises:
        DataError: fewer than two columns, or than two labels, or more than a charter lists.
    """
    if not wish.annotators:
        return ()
    found = sorted({row[name] for name in wish.annotators for row in rows} - {""}, key=_in_order)
    for what, count, most in (
        ("columns", len(wish.annotators), MOST_ANNOTATORS), ("labels", len(found), MOST_LABELS)
    ):  # fmt: skip
        if not 2 <= count <= most:
            raise DataError(
                f"--annotators: {count} {what}; agreement needs 2 to {most}. Nothing was written"
            )
    return tuple(found)


def person_column(rows: Sequence[Row], *, taken: Sequence[str]) -> tuple[str, int] | None:
    """Return a column that is an id by its name and in which values repeat, and how many it has."""
    for name in rows[0]:
        if name in taken:
            continue
        counted = Counter(row[name] for row in rows if row[name])
        if counted.total() == len(rows) and repeating_id(name, counted):
            return name, len({person_hash(cell) for cell in counted})
    return None


def _most_rows(column: str, rows: Sequence[Row]) -> int:
    """Return the fewest rows of a person with which most rows are used; noise grows with them."""
    if empty := sum(not row[column] for row in rows):
        raise DataError(
            f"person column {column} is empty in {empty} records; a record without a person cannot "
            "be protected as one. Nothing was written"
        )
    of_person = Counter(person_hash(row[column]) for row in rows)
    most = 1
    while sum(min(count, most) for count in of_person.values()) < _ROWS_KEPT * len(rows):
        most += 1
    return most


def _label(column: str, cells: Sequence[str]) -> tuple[LabelColumn, dict[str, int]]:
    counted = dict(distinct(cells))
    kinds = _kinds(counted)
    if fault := _label_fault(column, cells, kinds):
        raise DataError(f"label column {column} {fault}. Nothing was written")
    if len(kinds) > 2:
        order = sorted(kinds, key=_in_order)
        return LabelColumn(
            column=column, classes=tuple(_class(kinds[one]) for one in order)
        ), counted
    first, second = sorted(
        kinds,
        key=lambda kind: (kind.lower() in _POSITIVE, -sum(counted[one] for one in kinds[kind])),
    )
    return LabelColumn(
        column=column, positive=kinds[second], negative=kinds[first],
        positive_name=_called(column, second), negative_name=_called(column, first),
    ), counted  # fmt: skip


def _label_fault(column: str, cells: Sequence[str], kinds: Mapping[str, Sequence[str]]) -> str:
    """Return why no charter could have the label, or ""."""
    counted = [value for alike in kinds.values() for value in alike]
    empty = sum(not cell for cell in cells)
    faults = {
        "has a name with a character that no charter may hold": bool(texts.fault(column)),
        f"is empty in {empty} records; fill them in, or leave them out: --drop-unlabelled "
        "(in Python, drop_unlabelled=True)": empty,
        "has only one value, so there is nothing to learn": len(kinds) < 2,
        f"has {len(kinds)} values; a label has 2 to {MOST_CLASSES:,}": len(kinds) > MOST_CLASSES,
        f"has {len(kinds)} values in {len(cells)} records, as a number or free text has; a class "
        "needs several records each": 2 * len(kinds) > len(cells),
        "spells a number in two ways, such as 1 and 1.0; spell it in one way": len(
            {exact_number(value) or value for value in kinds}
        )
        < len(kinds),
        "has a value with a character that no charter may hold": any(map(texts.fault, counted)),
    }
    return next((said for said, true in faults.items() if true), "")


def _kinds(counted: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """Return the spellings of each answer by the one most used, which stands first."""
    most = spellings(counted)
    folded = {value.casefold() for value in counted}
    if folded <= YES | NO and folded & YES and folded & NO:
        for words_of_one in (YES, NO):
            alike = [value for value in counted if value.casefold() in words_of_one]
            used = max(alike, key=lambda value: (counted[value], value))
            most |= dict.fromkeys(alike, used)
    kinds: dict[str, tuple[str, ...]] = {}
    for value in sorted(counted, key=lambda one: (-counted[one], one)):
        kinds[most[value]] = (*kinds.get(most[value], ()), value)
    return kinds


def _class(cells: Sequence[str]) -> str:
    plain = [value.replace("=", r"\=").replace("|", r"\|") for value in cells]
    return plain[0] if len(plain) == 1 else f"{plain[0]}={'|'.join(plain)}"


def _in_order(value: str) -> tuple[float, str]:
    number = float(value) if exact_number(value) is not None else math.inf
    return number, value


def _called(column: str, value: str) -> str:
    plain = any(character.isalpha() for character in value) and value.lower() not in YES | NO
    return value if plain and len(value) > 1 else f"{words(column)} {value}"


def _by_name(row: Row, wish: Wish) -> tuple[str, ...]:
    taken = {wish.label, wish.sites, wish.person, *wish.text}
    taken |= set(wish.content.fields) if wish.content else set()
    found = tuple(name for name in row if name.lower() in _SENSITIVE and name not in taken)
    if not found and wish.content is None:
        raise DataError(
            "--sensitive: name at least one column whose groups are to be compared; none was found "
            f"by its name ({', '.join(sorted(_SENSITIVE))}). Nothing was written"
        )
    return found


def _as_they_are(rows: Mapping[str, Sequence[Row]]) -> dict[str, Sequence[Row]]:
    if not FEWEST_SITES <= len(rows) <= MOST_SITES:
        raise DataError(
            f"{len(rows)} sites; secure sums need {FEWEST_SITES}, and a draft has at most "
            f"{MOST_SITES}. Nothing was written"
        )
    return dict(rows)


def _dealt(wish: Wish, rows: Sequence[Row], called: str) -> Mapping[str, Sequence[Row]]:
    if wish.sites:
        return _by_column(wish.sites, rows)
    if not FEWEST_SITES <= wish.split <= MOST_SITES:
        raise DataError(
            f"--split: {wish.split} sites; secure sums need {FEWEST_SITES}, and a draft has at "
            f"most {MOST_SITES}. Nothing was written"
        )
    takers = [Taker(name=f"site-{number}") for number in range(1, wish.split + 1)]
    if len(rows) < 2 * wish.split:
        raise DataError(
            f"{called}: {len(rows)} records are too few for {wish.split} sites. Nothing was written"
        )
    partition = Partitioner(kind="by-hash", key=f"{wish.name}/1")
    if not wish.person:
        return deal(rows, partition, takers)
    # A person is a patient of one site.
    people = deal([{"id": row[wish.person]} for row in rows], partition, takers)
    site_of = {person_hash(one["id"]): site for site, held in people.items() for one in held}
    dealt: dict[str, list[Row]] = {taker.name: [] for taker in takers}
    for row in rows:
        dealt[site_of[person_hash(row[wish.person])]].append(row)
    return dealt


def _by_column(column: str, rows: Sequence[Row]) -> dict[str, list[Row]]:
    counted = Counter(row[column] for row in rows)
    fault = ""
    if counted[""]:
        fault = f"is empty in {counted['']} records"
    elif not FEWEST_SITES <= len(counted) <= MOST_SITES:
        fault = f"has {len(counted)} values; a federation has {FEWEST_SITES} to {MOST_SITES} sites"
    if fault:
        raise DataError(f"--sites: column {column} {fault}. Nothing was written")
    dealt: dict[str, list[Row]] = {}
    named: dict[str, str] = {}
    for value in sorted(counted):
        name = _NO_NAME.sub("-", value.lower()).strip("-")[:50] or "site"
        named[value] = name if name not in named.values() else f"{name}-{len(named) + 1}"
        dealt[named[value]] = []
    for row in rows:
        dealt[named[row[column]]].append(row)
    return dealt
