"""Annotations joined to their records, decided by the charter, every decision with its reason.

Guarantee: each label is one that the charter knows, each annotator labels a record once, and each
annotation is of a record of the file; else nothing is written, and the place is named.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fedethics.annotation.adjudication import Decided, adjudicated
from fedethics.annotation.records import Labelled, annotation_of, records
from fedethics.annotation.task_key import TaskKey
from fedethics.annotation.tool import Annotation, LabelTool
from fedethics.charter.annotation_terms import AnnotationTerms
from fedethics.charter.model import Charter
from fedethics.data.beside import BesideColumn
from fedethics.data.file_terms import DataFile
from fedethics.data.records import CellProblem
from fedethics.errors import DataError
from fedethics.simulation.partition import Row

# A text that two records have.
_TWICE = "two"


# Sensitive: who gave which label to which record.
@dataclass(kw_only=True, slots=True)
class Collected:
    """Labels by record.

    Attributes:
        labels: by record and annotator, the label's place among the charter's.
        settled: by record, what a person decided.
        unlabelled: annotations without a label.
    """

    labels: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    settled: dict[str, int] = field(default_factory=dict)
    unlabelled: int = 0


# Sensitive: the rows are records.
@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """A file's records with what people said of them.

    Attributes:
        rows: to be written: label and annotators' columns filled in.
        decisions: one for each different record: its name, labels, verdict and reason.
        counts: of records, by what became of them.
        annotators: how many people gave a label.
    """

    rows: tuple[Row, ...]
    decisions: tuple[Mapping[str, object], ...]
    counts: Mapping[str, int]
    annotators: int


def from_tool(
    tool: LabelTool, exports: Sequence[Path], file: DataFile, charter: Charter, *, key: TaskKey
) -> Imported:
    """Return a file's records with the labels of a tool's exports.

    Raises:
        DataError: an export is unreadable or of another version, a label is unknown, an annotator
            labelled a record twice, an annotation is of no record or named under another key, or a
            record has more labels than there are columns.
    """
    known = tuple(records(file, charter, key))
    found = (one for path in exports for one in _named(tool.annotations(path), key))
    return _joined(known, _collected(found, known, annotation_of(charter)), charter)


def _named(found: Iterable[Annotation], key: TaskKey) -> Iterator[Annotation]:
    for one in found:
        key.require_own(one.record, one.where)
        yield one


def from_columns(file: DataFile, charter: Charter, *, key: TaskKey) -> Imported:
    """Return the records of a file in which each annotator has a column, decided.

    Raises:
        DataError: a column is absent, or a label is unknown.
    """
    terms = annotation_of(charter)
    known = tuple(records(file, charter, key))
    if absent := [name for name in terms.annotators if known and name not in known[0].row]:
        raise DataError(
            f"data file {file.path}: no column {', '.join(absent)}, which annotation.annotators "
            "names. Nothing was written"
        )
    by_hand = terms.adjudicator if known and terms.adjudicator in known[0].row else None
    columns = (*terms.annotators, *filter(None, [by_hand]))
    first = {record.name: record for record in reversed(known)}
    found = (
        Annotation(record=name, text="", annotator=column, label=record.row[column],
                   where=f"{file.path.name}, column {column}")
        for name, record in first.items() for column in columns
    )  # fmt: skip
    return _joined(known, _collected(found, known, terms), charter)


def _collected(
    found: Iterable[Annotation], known: Sequence[Labelled], terms: AnnotationTerms
) -> Collected:
    names = {record.name for record in known}
    by_text: dict[bytes, str] = {}
    for record in known:
        if not record.text:
            continue
        key = _key(record.text)
        if by_text.setdefault(key, record.name) != record.name:
            by_text[key] = _TWICE
    column = BesideColumn("", terms.labels, "")
    collected = Collected()
    for one in found:
        name = one.record if one.record in names else by_text.get(_key(one.text), "")
        if name in ("", _TWICE):
            why = "two records have its text" if name else "no record of the file is it"
            raise DataError(f"{one.where}: {why}. Nothing was written")
        if not one.label:
            collected.unlabelled += 1
            continue
        try:
            label = column.place(one.label)
        except CellProblem as problem:
            raise DataError(f"{one.where}: a label that is {problem}. Nothing was written") from (
                problem
            )
        _put(collected, one, name, label, settles=one.settled or one.annotator == terms.adjudicator)
    return collected


def _put(collected: Collected, one: Annotation, name: str, label: int, *, settles: bool) -> None:
    twice = one.annotator in collected.labels[name]
    if settles:
        twice = collected.settled.setdefault(name, label) != label
    else:
        collected.labels[name][one.annotator] = label
    if twice:
        raise DataError(
            f"{one.where}: {'two settled labels' if settles else 'one annotator labelled'} the "
            "record a second time. Remove one of the two. Nothing was written"
        )


def _key(text: str) -> bytes:
    return hashlib.sha256(" ".join(text.split()).encode("utf-8")).digest()


def _joined(known: Sequence[Labelled], collected: Collected, charter: Charter) -> Imported:
    terms = annotation_of(charter)
    names = list(dict.fromkeys(record.name for record in known))
    labels = [collected.labels.get(name, {}) for name in names]
    people = sorted({person for one in labels for person in one})
    seats = dict(zip(names, _seats(names, labels, people, terms), strict=True))
    verdicts: dict[str, Decided | None] = dict.fromkeys(names)
    if terms.adjudication is not None:
        decided = adjudicated(
            labels, [collected.settled.get(name) for name in names], method=terms.adjudication,
            size=len(terms.labels), fewest=terms.per_record or 1,
        )  # fmt: skip
        verdicts = dict(zip(names, decided, strict=True))
    rows, counts = [], Counter[str]()
    for record in known:
        verdict = verdicts[record.name]
        counts[_became(verdict, collected.labels.get(record.name))] += 1
        if verdict is not None and verdict.label is None and terms.unresolved != "keep":
            continue
        said = {} if verdict is None else {charter.data.labels.column: _word(verdict, terms)}
        rows.append({**record.row, **seats[record.name], **said})
    return Imported(
        rows=tuple(rows), counts=dict(counts), annotators=len(people),
        decisions=tuple(_decisions(names, labels, verdicts, terms)),
    )  # fmt: skip


def _became(verdict: Decided | None, labels: Mapping[str, int] | None) -> str:
    if verdict is None:
        return "labelled" if labels else "no label"
    return verdict.why if verdict.label is not None else f"not decided: {verdict.why}"


def _word(verdict: Decided, terms: AnnotationTerms) -> str:
    return "" if verdict.label is None else terms.labels[verdict.label]


def _seats(
    names: Sequence[str], labels: Sequence[Mapping[str, int]], people: Sequence[str],
    terms: AnnotationTerms,
) -> Iterator[dict[str, str]]:  # fmt: skip
    """Yield each record's annotators' columns: one person's own, where there are enough of them."""
    columns = terms.annotators
    own = dict(zip(people, columns, strict=False)) if len(people) <= len(columns) else {}
    if set(people) <= set(columns):
        own = {person: person for person in people}
    for name, one in zip(names, labels, strict=True):
        if len(one) > len(columns):
            raise DataError(
                f"record {name}: {len(one)} labels, and annotation.annotators names "
                f"{len(columns)} columns. Nothing was written"
            )
        seats = dict.fromkeys(columns, "")
        for place, person in enumerate(sorted(one)):
            seats[own.get(person) or columns[place]] = terms.labels[one[person]]
        yield seats


def _decisions(
    names: Sequence[str], labels: Sequence[Mapping[str, int]],
    verdicts: Mapping[str, Decided | None], terms: AnnotationTerms,
) -> Iterator[Mapping[str, object]]:  # fmt: skip
    for name, one in zip(names, labels, strict=True):
        verdict = verdicts[name]
        said: dict[str, object] = {
            "record": name,
            "labels": {person: terms.labels[label] for person, label in sorted(one.items())},
        }
        if verdict is not None:
            said |= {
                "method": terms.adjudication,
                "decided": _word(verdict, terms) or None,
                "why": verdict.why,
                "confidence": round(verdict.confidence, 6),
            }
        yield said
