"""New records, whose outcome nobody knows: read and worded as a charter says, without its label.

Guarantee: a message names the line and the column and what is allowed, and never a value.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from fedethics.charter.data_terms import ContentTerms, DataTerms
from fedethics.data.content import Content
from fedethics.data.file_terms import DataFile
from fedethics.data.forms import read_content
from fedethics.data.reading import MAX_PROBLEMS, raw_rows
from fedethics.data.records import CellProblem, Value, parse_cell
from fedethics.data.rendering import row_content
from fedethics.errors import DataError

ReadContent: TypeAlias = Callable[[Mapping[str, str], ContentTerms], Content]


# Sensitive: holds what one record says.
@dataclass(frozen=True, kw_only=True, slots=True)
class NewRecord:
    """One record of a file.

    Attributes:
        line: its first line in the file, the header being line 1.
        content: what the model reads; None where the charter leaves such a record out.
        left_out: why it is left out; empty where it is not.
        values: its parsed columns; only some where it is left out.
        kept: the cells that are written beside its score, by column.
    """

    line: int
    content: Content | None
    left_out: str
    values: Mapping[str, Value] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict)


def unlabelled(terms: DataTerms) -> DataTerms:
    """Return the schema without what only training and evaluation read: label, person, groups.

    Options that are a record's answers stay: the model is asked with them.
    """
    asked = terms.labels.answer_with is not None
    options = dataclasses.replace(terms.labels, column="") if asked else None
    return dataclasses.replace(terms, label=options, person="", sensitive=())


def unanswered(terms: DataTerms) -> DataTerms:
    """Return the schema of what records ask: no answer, and no column, since no text has them."""
    content = terms.content
    if content is not None and content.form != "messages":
        # The prompt stands in for the answer's field, which need not be there.
        content = (
            dataclasses.replace(content, output=content.instruction)
            if content.form == "instruction"
            else dataclasses.replace(content, completion=content.prompt)
        )
    return dataclasses.replace(terms, columns=(), rules=None, content=content)


def read_new(
    file: Path | DataFile,
    terms: DataTerms,
    *,
    keep: Sequence[str] = (),
    read: ReadContent = read_content,
) -> Iterator[NewRecord]:
    """Yield the records of a file in their order; memory does not grow with the file.

    Args:
        file: the file, and how it is read where its name does not say it.
        terms: the charter's schema; its label, person and groups are not read.
        keep: columns to hand through as they stand, such as a record's number.
        read: reads what a record says in the charter's form.

    Raises:
        DataError: unreadable, a column is missing, or a value is not as the charter says; lists up
            to ten problems at once. Then the records before were yielded and must not be used.
    """
    schema, problems, found = unlabelled(terms), list[str](), False
    path = DataFile.of(file).path
    for line, row in raw_rows(file, schema, by="the release's charter says"):
        found = True
        missing = [name for name in keep if name not in row]
        if missing:
            raise DataError(f"data file {path} has no column {', '.join(missing)} to keep")
        record = worded(line, row, schema, problems, read=read)
        if len(problems) >= MAX_PROBLEMS:
            break
        if problems:
            continue  # read on for others; nothing of this file is used
        yield dataclasses.replace(record, kept={name: row[name] for name in keep})
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        more = "" if len(problems) < MAX_PROBLEMS else "\n  - and perhaps more"
        raise DataError(
            f"data file {path} is not as the release's charter says; nothing was written:"
            f"{listed}{more}"
        )
    if not found:
        raise DataError(f"data file {path} holds no record; nothing was written")


def worded(
    line: int,
    row: Mapping[str, str],
    schema: DataTerms,
    problems: list[str],
    *,
    read: ReadContent = read_content,
) -> NewRecord:
    """Return one record as the model reads it.

    Args:
        line: its number, for messages.
        row: its cells by column.
        schema: from `unlabelled`.
        problems: what is wrong is added here; then the record must not be used.
        read: reads what a record says in the charter's form.
    """
    before = len(problems)
    values, left_out = _values(line, row, schema, problems)
    content = _content(line, row, schema, problems, read)
    if content is None and not left_out and len(problems) == before:
        content = row_content(values, schema)
    return NewRecord(
        line=line, content=None if left_out else content, left_out=left_out, values=values
    )


def _values(
    line: int, row: Mapping[str, str], terms: DataTerms, problems: list[str]
) -> tuple[dict[str, Value], str]:
    """Return the parsed columns, and why the charter leaves the record out, or ""."""
    values: dict[str, Value] = {}
    left_out = ""
    for column in terms.columns:
        raw = row[column.name]
        if not raw and column.on_empty == "drop-row":
            left_out = left_out or f"{column.name} is empty"
            continue
        try:
            values[column.name] = parse_cell(raw, column)
        except CellProblem as problem:
            problems.append(f"line {line}, column {column.name}: {problem}")
    return values, left_out


def _content(
    line: int,
    row: Mapping[str, str],
    terms: DataTerms,
    problems: list[str],
    read: ReadContent,
) -> Content | None:
    if terms.content is None:
        return None
    try:
        return read(row, terms.content)
    except CellProblem as problem:
        problems.append(f"line {line}: {problem}")
        return None
