"""Count everything that a site should know of its own file before it joins, for its own eyes.

Guarantee: what is wrong is found with the very code that a run reads the file with; nothing here
is sent anywhere, and no message holds a cell of any record.

Records that say the same: equal rows, equal texts, and texts on both sides of the split.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fedethics.charter.annotation_terms import AnnotationTerms, Level
from fedethics.charter.data_terms import Column, DataTerms
from fedethics.data.admitted import BadValue, bad_values, left_out
from fedethics.data.agreement import Coincidences, coincidences
from fedethics.data.beside import BesideColumn
from fedethics.data.content import loose_hash
from fedethics.data.file_terms import DataFile
from fedethics.data.reading import raw_rows, read_records
from fedethics.data.records import CellProblem, Split, group_index, parse_cell, person_hash, split
from fedethics.errors import DataError
from fedethics.learning_tasks import find_task


@dataclass(frozen=True, kw_only=True, slots=True)
class Repeats:
    """How much of a file says what another record says already.

    Attributes:
        rows: records that equal one before them in every column.
        texts: records whose text equals that of an earlier record, if case and spaces are ignored.
        contradictions: texts that stand with more than one label.
        leaked: held-out records whose text stands among the training records too.
    """

    rows: int
    texts: int
    contradictions: int
    leaked: int


def find_repeats(parts: Split) -> Repeats:
    """Count repeats by exact hash."""
    labels: defaultdict[bytes, set[int]] = defaultdict(set)
    seen: list[Counter[bytes]] = []
    for part in (parts.train, parts.held_out):
        digests = [loose_hash(text) for text in part.texts]
        seen.append(Counter(digests))
        for digest, label in zip(digests, part.labels, strict=True):
            labels[digest].add(int(label))
    train, held_out = seen
    rows = parts.train.row_hashes + parts.held_out.row_hashes
    return Repeats(
        rows=len(rows) - len(set(rows)),
        texts=len(rows) - len(labels),
        contradictions=sum(len(found) > 1 for found in labels.values()),
        leaked=sum(count for digest, count in held_out.items() if digest in train),
    )


def reading_notes(parts: Split) -> dict[str, int]:
    """Return what the site's own log says of a reading: counts, for the site's eyes only."""
    repeats = find_repeats(parts)
    return {
        **({"with_personal_data": parts.train.personal} if parts.train.personal else {}),
        "train": len(parts.train),
        "held_out": len(parts.held_out),
        "left_out": sum(parts.train.dropped.values()),
        "repeated_rows": repeats.rows,
        "held_out_texts_in_training": repeats.leaked,
    }


EVERYONE = "everyone"
# A long number as a spreadsheet program saves it: the digits that are not there are lost.
_ROUNDED = re.compile(r"[0-9]\.[0-9]+[eE]\+[0-9]{2,3}", re.ASCII)


# Sensitive: counts of one site's people, exact.
@dataclass(frozen=True, kw_only=True, slots=True)
class GroupCount:
    """Records of one group at this site, in all and of each class.

    Attributes:
        train_positive, held_out_positive: those with the positive label; None where no class is
            "positive".
        train_classes, held_out_classes: those of each class, in the order of `Facts.classes`.
    """

    feature: str
    group: str
    train: int
    train_positive: int | None
    held_out: int
    held_out_positive: int | None
    train_classes: tuple[int, ...]
    held_out_classes: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Missing:
    """How often a column has nothing: cells that are empty, and values that mean as much."""

    column: str
    empty: int
    not_recorded: int


# Sensitive: all of it is about one site's records.
@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What was counted; groups and repeats only where a run could read the file.

    Attributes:
        rows: of the file; `missing` counts among them.
        records: rows that a run would use.
        personal: records in whose texts a policy's kinds of personal data were found.
        dropped: rows left out, by reason; those for an empty cell also where a run would refuse
            the file.
        bad: every distinct value that a run would refuse.
        ids: different spellings in the column of persons; 0 where the unit is the record.
        persons: who they are; less than `ids` where spellings are the same number.
        rounded: ids spelled as a spreadsheet program spells long numbers, with digits lost.
        agreement: coincidences of the annotators, for everyone and for each "feature: group".
        errors: why a run would refuse the file, one sentence each.
        classes: what a record can be labelled, in the order of their numbers; empty where
            there is no label.
    """

    rows: int = 0
    records: int = 0
    personal: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    ids: int = 0
    persons: int = 0
    rounded: int = 0
    missing: tuple[Missing, ...] = ()
    groups: tuple[GroupCount, ...] = ()
    repeats: Repeats | None = None
    agreement: Mapping[str, Coincidences] = field(default_factory=dict)
    errors: tuple[str, ...] = ()
    bad: tuple[BadValue, ...] = ()
    classes: tuple[str, ...] = ()


def gather(
    file: Path | DataFile,
    terms: DataTerms,
    *,
    task: str = "classification",
    annotators: Sequence[str] = (),
    beside: Sequence[BesideColumn] = (),
    annotation: AnnotationTerms | None = None,
) -> Facts:
    """Count everything in a site's file.

    Args:
        file: as `read_records` takes it.
        terms: the charter's data schema.
        task: the charter's `model.task`.
        annotators: columns that hold one annotator's label each, if there are any.
        beside: columns that the charter's sums read beside the schema.
        annotation: the charter's; its annotators count unless others are given.

    Raises:
        DataError: an annotator's column is missing, or fewer than two were given.
    """
    try:
        rows = [row for _, row in raw_rows(file, terms)]
    except DataError as error:
        return Facts(errors=_sentences(error))
    ids = {row[terms.person] for row in rows if row[terms.person]} if terms.person else set()
    raw = Facts(
        rows=len(rows),
        ids=len(ids),
        persons=len(set(map(person_hash, ids))),
        rounded=sum(bool(_ROUNDED.fullmatch(one)) for one in ids),
        missing=tuple(_missing(rows, terms)),
        agreement=_agreement(rows, terms, annotators, annotation),
        dropped=left_out(rows, terms),
        bad=bad_values(rows, terms, task=task),
    )
    try:
        parts = split(read_records(file, terms, task=task, beside=beside), terms)
    except DataError as error:
        return dataclasses.replace(raw, errors=_sentences(error))
    classes = find_task(task).classes(terms.label) if terms.label else ()
    return dataclasses.replace(
        raw,
        records=len(parts.train) + len(parts.held_out),
        dropped=parts.train.dropped,
        personal=parts.train.personal,
        groups=tuple(_groups(parts, terms, len(classes))),
        classes=classes,
        repeats=find_repeats(parts),
    )


def _sentences(error: DataError) -> tuple[str, ...]:
    first, *more = str(error).split("\n  - ")
    return tuple(more) or (first,)


def _missing(rows: Sequence[Mapping[str, str]], terms: DataTerms) -> Iterator[Missing]:
    for column in terms.columns:
        cells = [row[column.name] for row in rows]
        yield Missing(
            column=column.name,
            empty=sum(not cell for cell in cells),
            not_recorded=sum(bool(cell) and _nothing(cell, column) for cell in cells),
        )


def _nothing(cell: str, column: Column) -> bool:
    try:
        return parse_cell(cell, column) is None
    except CellProblem:
        return False


def _groups(parts: Split, terms: DataTerms, classes: int) -> Iterator[GroupCount]:
    decided = terms.label is not None and terms.label.classes is None and classes == 2
    for place, feature in enumerate(terms.sensitive):
        for index, group in enumerate(feature.groups):
            train, held_out = (
                part.labels[part.groups[:, place] == index]
                for part in (parts.train, parts.held_out)
            )
            counted = [tuple(np.bincount(part, minlength=classes)[:classes].tolist())
                       for part in (train, held_out)]  # fmt: skip
            yield GroupCount(
                feature=feature.name,
                group=group,
                train=len(train),
                train_positive=counted[0][1] if decided else None,
                held_out=len(held_out),
                held_out_positive=counted[1][1] if decided else None,
                train_classes=counted[0],
                held_out_classes=counted[1],
            )


def _agreement(
    rows: Sequence[Mapping[str, str]],
    terms: DataTerms,
    annotators: Sequence[str],
    annotation: AnnotationTerms | None,
) -> dict[str, Coincidences]:
    agreed = None if annotators else annotation
    annotators = agreed.annotators if agreed else annotators
    if not annotators:
        return {}
    absent = [name for name in annotators if not rows or name not in rows[0]]
    if absent or len(annotators) < 2:
        raise DataError(
            f"annotators' columns: {', '.join(absent) or annotators[0]}: "
            + ("not in the file" if absent else "agreement needs at least two")
        )
    items: defaultdict[str, list[list[str]]] = defaultdict(list)
    for row in rows:
        given = [_annotated(row[name], agreed) for name in annotators]
        items[EVERYONE].append(given)
        for name in _group_names(row, terms):
            items[name].append(given)
    level: Level = agreed.level if agreed else "nominal"
    order = agreed.labels if agreed else ()
    return {name: coincidences(found, level=level, order=order) for name, found in items.items()}


def _annotated(cell: str, agreed: AnnotationTerms | None) -> str:
    """Return the charter's spelling of a label; "" for one that it does not list."""
    if agreed is None or not cell:
        return cell
    try:
        return agreed.labels[BesideColumn("", agreed.labels, "").place(cell)]
    except CellProblem:
        return ""  # said already, as an error of its line


def _group_names(row: Mapping[str, str], terms: DataTerms) -> Iterator[str]:
    columns = {column.name: column for column in terms.columns}
    for feature in terms.sensitive:
        try:
            value = parse_cell(row[feature.column], columns[feature.column])
            group = feature.groups[group_index(value, feature)]
        except CellProblem:
            continue  # said already, as an error of the schema
        yield f"{feature.name}: {group}"
