"""Read a site's file by the charter's schema, or say everything that is wrong with it.

Guarantee: every record that is returned passed every check of the schema; a message names the
line, the column and what is allowed, and never a value of any record.

`table_rows` gives the file as rows of cells, or says what kind of file it is instead: nothing is
guessed.
"""

from __future__ import annotations

import csv
import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from fedethics.charter.data_terms import MAX_CELL, DataTerms
from fedethics.charter.spelling import composed, invisible
from fedethics.data.admitted import unlabelled
from fedethics.data.beside import BesideColumn, BesideReading
from fedethics.data.content import Content
from fedethics.data.files import FileKind, kind_of, needed_fields, register
from fedethics.data.forms import read_content
from fedethics.data.json_lines import JSON_LINES
from fedethics.data.records import (
    CellProblem,
    Records,
    Value,
    fingerprint,
    group_index,
    parse_cell,
    person_hash,
    row_hash,
    unlike,
)
from fedethics.data.rendering import row_text, text_columns
from fedethics.errors import DataError
from fedethics.learning_tasks import LearningTask, find_task
from fedethics.ownership import cannot_read

# Beyond it a quote is more likely never closed than a cell that long. Bounds memory.
_MOST_READ = 16 * 2**20
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "upright bars", ":": "colons"}
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def table_rows(path: Path, terms: DataTerms) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each row's first line and its cells by column; see `reading.raw_rows`.

    Raises:
        OSError: unreadable.
        UnicodeDecodeError: not UTF-8.
        csv.Error: not CSV.
        CellProblem: a column is missing or stands twice, or a row does not fit the header.
    """
    # Python's own limit is 131,072 for the whole process; raising it harms no other reader.
    csv.field_size_limit(max(csv.field_size_limit(), _MOST_READ))
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = _Lines(file)
        rows = _numbered(csv.reader(lines, strict=True), lines)
        _, header = next(rows, (1, []))
        names = [composed(name.strip()) for name in header]
        _check_header(names, terms)
        for line, cells in rows:
            row = [composed(cell.strip()) for cell in cells]
            if any(row):
                yield line, _by_name(names, row, line)


def encoding_hint(path: Path) -> str:
    """Return what a file that is not UTF-8 seems to be, and what to do."""
    data = path.read_bytes()
    if data.startswith(_UTF16):
        return 'it begins as UTF-16 does ("Unicode text"); export it as UTF-8 CSV'
    if b"\0" in data:
        return "it holds zero bytes, as no text file does; export it as UTF-8 CSV"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return (
            f"line {line} seems to be in Latin-1 or Windows-1252, in which accented letters are "
            "single bytes; export it as UTF-8 CSV"
        )
    return "export it as UTF-8 CSV"


class _Lines:
    """The lines of a file, which remembers those of the row that is being read."""

    def __init__(self, file: Iterable[str]) -> None:
        self._file = iter(file)
        self.row: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._file)
        self.row.append(line)
        return line


def _numbered(reader: Iterator[list[str]], lines: _Lines) -> Iterator[tuple[int, list[str]]]:
    """Yield rows that are not blank with the number of their first line."""
    line = 1
    while True:
        lines.row.clear()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise CellProblem(_broken(error, line, "".join(lines.row))) from error
        if cells:
            yield line, cells
        line += len(lines.row)


def _broken(error: csv.Error, line: int, text: str) -> str:
    if "field limit" in str(error):
        return (
            f"line {line}, column {_column_reached(text)}: longer than {_MOST_READ} characters; is "
            "a quote there never closed?"
        )
    for mark, called in _SEPARATORS.items():
        if line == 1 and f'"{mark}' in text:
            return f"line 1: the file is separated by {called}. Export it as CSV with commas"
    return f"line {line}: {error}"


def _column_reached(text: str) -> int:
    """Return which cell of a row, from 1, has grown too long when reading stopped."""
    column, length, quoted = 1, 0, False
    for character in text:
        length += 1
        if character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            column, length = column + 1, 0
        if length > _MOST_READ:
            break
    return column


def _check_header(names: Sequence[str], terms: DataTerms) -> None:
    if not any(names):
        raise CellProblem("the file is empty" if not names else "line 1: no column has a name")
    needed = needed_fields(terms)
    missing = [name for name in needed if name not in names]
    if missing:
        raise CellProblem(f"line 1: no column {', '.join(missing)}{_instead(names, missing)}")
    counted = Counter(filter(None, names))
    twice = sorted(name for name, count in counted.items() if count > 1)
    if twice:
        raise CellProblem(f"line 1: column {', '.join(twice)} stands twice")


def _instead(names: Sequence[str], missing: Sequence[str]) -> str:
    """Say what kind of file has such a first line, where it can be told."""
    first = names[0]
    if first.lower().startswith("sep="):
        return (
            '; the line is "sep=", which only a spreadsheet program reads. Delete it, and let '
            "commas separate the cells"
        )
    for mark, called in _SEPARATORS.items():
        if missing[0] in (name.strip(' "') for name in ",".join(names).split(mark)):
            return f"; the file is separated by {called}. Export it as CSV with commas"
    for name in names:
        seen = "".join(character for character in name if not invisible(character))
        if seen in missing:
            return f"; a column that looks like {seen} holds {invisible(name)}, which is invisible"
    plain = {name.casefold(): name for name in names}
    other = [name for name in missing if name.casefold() in plain]
    if other:
        return f"; {', '.join(other)} is there in other small and capital letters"
    return ""


def _by_name(names: Sequence[str], row: Sequence[str], line: int) -> dict[str, str]:
    beyond = any(row[len(names) :])
    if len(row) < len(names) or beyond:
        hint = "; a comma within a value, as a decimal comma, needs quotes" if beyond else ""
        raise CellProblem(f"line {line}: {len(row)} cells under {len(names)} column names{hint}")
    cells: dict[str, str] = {}
    for number, (name, cell) in enumerate(zip(names, row, strict=False), start=1):
        if not name and not cell:
            continue
        if name in cells:
            raise CellProblem(f"line {line}: column {number} has a value and no name")
        if len(cell) > MAX_CELL:
            raise CellProblem(f"line {line}, column {name}: longer than {MAX_CELL} characters")
        cells[name] = cell
    return cells


register(FileKind(name="CSV", endings=(), rows=table_rows))
register(JSON_LINES)


MAX_PROBLEMS = 10
# A group column that is emptier than this says nothing of the groups, whatever is left over.
MAX_EMPTY_GROUPS = 0.5


def read_records(
    path: Path,
    terms: DataTerms,
    *,
    task: str = "classification",
    beside: Sequence[BesideColumn] = (),
) -> Records:
    """Read, check and word the records of a file: CSV with a header line, or JSON lines; UTF-8.

    Args:
        path: the file.
        terms: the charter's schema.
        task: the charter's `model.task`, which says what target a cell of the label means.
        beside: columns to read beside the schema.

    Raises:
        DataError: unreadable, empty, a column missing, an unknown label, a value out of range or
            undeclared, a record in no declared group, a group column that is mostly empty; lists
            up to ten problems at once.
    """
    reading, others = _Reading(terms, find_task(task)), BesideReading(beside)
    for line, row in raw_rows(path, terms):
        kept = len(reading.values)
        reading.add(line, row)
        reading.problems += others.add(line, row, kept=len(reading.values) > kept)
        if len(reading.problems) >= MAX_PROBLEMS:
            break
    records = reading.finish(path)
    return dataclasses.replace(records, beside=others.columns()) if beside else records


def raw_rows(
    path: Path, terms: DataTerms, *, by: str = "the charter's schema says"
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line number and cells of each row of a file with the charter's columns.

    Cells are stripped and in Unicode's composed form. Rows and columns with nothing in them, such
    as spreadsheet programs leave behind, are passed over; a nameless column with values is not.

    Sensitive: the cells are records.

    Args:
        path: the file.
        terms: what columns it must have.
        by: who asks for them, in messages.

    Raises:
        DataError: unreadable, not UTF-8, not CSV, or a column of the charter is missing.
    """
    if path.exists() and not path.is_file():
        raise DataError(f"data file {path} cannot be read: it is no ordinary file")
    try:
        yield from kind_of(path).rows(path, terms)
    except OSError as error:
        raise DataError(f"data file {cannot_read(path, error)}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"data file {path} is not UTF-8 text; {encoding_hint(path)}") from error
    except (csv.Error, CellProblem) as error:
        raise DataError(f"data file {path} is not as {by}: {error}") from error


class _Reading:
    """Records and problems gathered so far from one file."""

    def __init__(self, terms: DataTerms, task: LearningTask) -> None:
        self.terms, self.task = terms, task
        self.problems: list[str] = []
        self.dropped: Counter[str] = Counter()
        self.empty: Counter[str] = Counter()
        self.labels: list[int] = []
        self.contents: list[Content | None] = []
        self.groups: list[list[int]] = []
        self.values: list[dict[str, Value]] = []
        self.hashes: list[bytes] = []
        self.all_hashes: list[bytes] = []
        self.persons: list[bytes] = []

    def add(self, line: int, row: Mapping[str, str]) -> None:
        digest = row_hash(row)
        self.all_hashes.append(digest)
        if unlabelled(row, self.terms):
            self.dropped[f"{self.terms.labels.column} is empty"] += 1
            return
        before = len(self.problems)
        values: dict[str, Value] = {}
        empty: list[str] = []
        for column in self.terms.columns:
            raw = row[column.name]
            if not raw and column.on_empty == "drop-row":
                empty.append(column.name)
                self.empty[column.name] += 1
                continue
            try:
                values[column.name] = parse_cell(raw, column)
            except CellProblem as problem:
                self._problem(line, column.name, problem)
        label = self._label(line, row)
        content = self._content(line, row)
        person = self._person(line, row)
        if empty:
            self.dropped[f"{empty[0]} is empty"] += 1
        elif len(self.problems) == before:
            self._keep(line, digest, person, values, label, content)

    def finish(self, path: Path) -> Records:
        self.problems += self._empty_groups()
        if self.problems:
            more = "" if len(self.problems) < MAX_PROBLEMS else "\n  - and perhaps more"
            listed = "".join(f"\n  - {problem}" for problem in self.problems)
            raise DataError(
                f"data file {path} is not as the charter's schema says; nothing was used:"
                f"{listed}{more}"
            )
        if not self.values:
            reasons = "; ".join(f"{count} rows: {why}" for why, count in self.dropped.items())
            raise DataError(f"data file {path} holds no usable record ({reasons or 'no rows'})")
        told = text_columns(self.terms)
        return Records(
            texts=tuple(
                row_text(values, told) if content is None else content
                for values, content in zip(self.values, self.contents, strict=True)
            ),
            labels=np.array(self.labels, dtype=np.int16),
            groups=np.array(self.groups, dtype=np.int64),
            values=tuple(self.values),
            row_hashes=tuple(self.hashes),
            persons=tuple(self.persons),
            fingerprint=fingerprint(self.hashes),
            source_fingerprint=fingerprint(self.all_hashes),
            dropped=dict(self.dropped),
        )

    def _empty_groups(self) -> list[str]:
        rows = max(len(self.all_hashes), 1)
        return [
            f"column {column}: empty in {self.empty[column] / rows:.0%} of the rows, so groups "
            "by it cannot be judged and most records would be left out; take the feature out of "
            'the charter, or let the column say "not recorded" and declare that group'
            for column in sorted({feature.column for feature in self.terms.sensitive})
            if self.empty[column] > MAX_EMPTY_GROUPS * rows
        ]

    def _label(self, line: int, row: Mapping[str, str]) -> int:
        label = self.terms.label
        if label is None:
            return 0
        raw = row[label.column]
        target = self.task.target(raw, label)
        if target is not None:
            if label.options:
                self._options(line, [row[option] for option in label.options], target)
            return target
        allowed = self.task.cells(label)
        said = f"unknown label; allowed: {', '.join(allowed)}"
        self._problem(line, label.column, unlike(said, raw, allowed))
        return 0

    def _options(self, line: int, options: Sequence[str], target: int) -> None:
        """Refuse a question that has no right answer, or two."""
        given = [option for option in options if option]
        column, said = self.terms.labels.column, ""
        if not options[target]:
            said = "names an option that is empty"
        elif len(given) < 2:
            said = "one option only; a choice needs two"
        elif len(set(given)) < len(given):
            said = "two options are the same, so nobody can say which is right"
        if said:
            self._problem(line, column, CellProblem(said))

    def _content(self, line: int, row: Mapping[str, str]) -> Content | None:
        """Return what the record says; None where its columns' phrases tell it."""
        terms = self.terms.content
        if terms is None:
            return None
        try:
            return read_content(row, terms)
        except CellProblem as problem:
            self.problems.append(f"line {line}: {problem}")
            return None

    def _person(self, line: int, row: Mapping[str, str]) -> bytes:
        """Return a hash of whose row it is; empty where the unit is the record."""
        column = self.terms.person
        if column and not row[column]:
            # A row of nobody could be anybody's second contribution.
            self._problem(line, column, CellProblem("empty; every row must say whose it is"))
        elif column and (hidden := invisible(row[column])):
            # Two ids that look alike would be two persons.
            self._problem(line, column, CellProblem(f"holds {hidden}, which is invisible"))
        return person_hash(row[column]) if column else b""

    def _keep(
        self,
        line: int,
        digest: bytes,
        person: bytes,
        values: dict[str, Value],
        label: int,
        content: Content | None,
    ) -> None:
        groups: list[int] = []
        for feature in self.terms.sensitive:
            try:
                groups.append(group_index(values[feature.column], feature))
            except CellProblem as problem:
                self._problem(line, feature.column, problem)
        if len(groups) == len(self.terms.sensitive):
            self.labels.append(label)
            self.contents.append(content)
            self.groups.append(groups)
            self.values.append(values)
            self.hashes.append(digest)
            self.persons.append(person)

    def _problem(self, line: int, column: str, problem: CellProblem) -> None:
        self.problems.append(f"line {line}, column {column}: {problem}")
