"""A site's records as tasks for annotators, and as records that have been labelled.

A record is named by a keyed hash of its cells, without its label and its annotators' columns, so
that it has one name before and after it is labelled. Without the site's key nobody can find
a record's other cells from its name and some of its cells.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fedethics.annotation.task_key import TaskKey
from fedethics.annotation.tool import Question, Task
from fedethics.charter.annotation_terms import AnnotationTerms
from fedethics.charter.data_terms import DataTerms
from fedethics.charter.model import Charter
from fedethics.data.content import Conversation, parts
from fedethics.data.file_terms import DataFile
from fedethics.data.forms import read_content
from fedethics.data.reading import raw_rows
from fedethics.data.records import CellProblem, parse_cell, row_hash
from fedethics.data.rendering import row_content
from fedethics.errors import DataError
from fedethics.simulation.partition import Row


# Sensitive: the cells are a record's.
@dataclass(frozen=True, kw_only=True, slots=True)
class Labelled:
    """A record of a site's file.

    Attributes:
        name: of the record, for tools.
        text: that the model reads, and annotators too; empty where the record is left out.
        row: its cells.
    """

    name: str
    text: str
    row: Row


def annotation_of(charter: Charter) -> AnnotationTerms:
    """Return what a charter says of annotation.

    Raises:
        DataError: nothing.
    """
    if charter.annotation is None:
        raise DataError(
            "the charter has no [annotation], which says the labels and the guideline. Nothing "
            "was written"
        )
    return charter.annotation


def question_of(charter: Charter) -> Question:
    """Return what annotators are asked by a charter.

    Raises:
        DataError: the charter has no annotation.
    """
    terms = annotation_of(charter)
    label = charter.data.labels.column or "label"
    return Question(
        title=f"{label}?",
        guideline=terms.guideline or f"Guideline with SHA-256 {terms.guideline_sha256}",
        labels=terms.labels,
    )


def records(file: Path | DataFile, charter: Charter, key: TaskKey) -> Iterator[Labelled]:
    """Yield the records of a file, which needs no label yet, named under a key.

    Raises:
        DataError: the file is not as the charter says, apart from the label; names the line.
    """
    terms = dataclasses.replace(charter.data, label=None)
    asked = annotation_of(charter)
    passed = {charter.data.labels.column, *asked.annotators, asked.adjudicator}
    for line, row in raw_rows(file, terms):
        cells = {name: cell for name, cell in row.items() if name not in passed}
        try:
            text = _text(row, terms)
        except CellProblem as problem:
            raise DataError(
                f"data file {DataFile.of(file).path}, line {line}: {problem}. Nothing was written"
            ) from problem
        yield Labelled(name=key.name_of(row_hash(cells)), text=text, row=row)


def tasks(file: Path | DataFile, charter: Charter, key: TaskKey) -> Iterator[Task]:
    """Yield each record to be labelled once, however often it is in the file.

    A record that a run would leave out is no task.

    Raises:
        DataError: as `records`.
    """
    seen: set[str] = set()
    for record in records(file, charter, key):
        if record.text and record.name not in seen:
            seen.add(record.name)
            yield Task(record=record.name, text=record.text)


def _text(row: Row, terms: DataTerms) -> str:
    if terms.content is not None:
        content = read_content(row, terms.content)
        if isinstance(content, Conversation):
            return "\n".join(f"{turn.role}: {turn.text}" for turn in content.turns)
        return "\n\n".join(parts(content))
    dropping = [column.name for column in terms.columns if column.on_empty == "drop-row"]
    if any(not row[name] for name in dropping):
        return ""
    values = {}
    options = terms.labels.options or () if terms.labels.answer_with else ()
    for column in terms.columns:
        if not (column.phrase or column.name in options):
            continue
        try:
            values[column.name] = parse_cell(row[column.name], column)
        except CellProblem as problem:
            raise CellProblem(f"column {column.name}: {problem}") from problem
    return "\n\n".join(filter(None, parts(row_content(values, terms))))
