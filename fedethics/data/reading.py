"""Read a site's file by the charter's schema, or say everything that is wrong with it.

Guarantee: every record that is returned passed every check of the schema; a message names the
line, the column and what is allowed, and never a value of any record.

`table_rows` gives the file as rows of cells, or says what kind of file it is instead: nothing is
guessed.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from fedethics.charter.data_terms import MAX_CELL, DataTerms
from fedethics.charter.spelling import composed, invisible
from fedethics.data.admitted import unlabelled
from fedethics.data.beside import BesideColumn, BesideReading
from fedethics.data.content import Content
from fedethics.data.file_terms import DELIMITERS, DataFile, FileTerms, single_byte
from fedethics.data.files import FileKind, Rows, kind_of, needed_fields, register
from fedethics.data.forms import read_content
from fedethics.data.json_lines import JSON_LINES
from fedethics.data.personal_terms import PersonalData, PersonalTerms
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
from fedethics.data.rendering import row_content, text_columns
from fedethics.data.typed_files import PARQUET, sheet_rows
from fedethics.errors import DataError
from fedethics.learning_tasks import LearningTask, find_task
from fedethics.ownership import cannot_read

# Beyond it a quote is more likely never closed than a cell that long. Bounds memory.
_MOST_READ = 16 * 2**20
_SEPARATORS = {
    ";": "semicolons", "\t": "tabs", "|": "upright bars", ":": "colons", ",": "commas"
}  # fmt: skip
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def table_rows(
    path: Path, terms: DataTerms, read: FileTerms
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each row's first line and its cells by column; see `reading.raw_rows`.

    Raises:
        OSError: unreadable.
        UnicodeDecodeError: not UTF-8.
        csv.Error: not CSV.
        CellProblem: a column is missing or is listed twice, or a row does not fit the header.
    """
    # Python's own limit is 131,072 for the whole process; raising it harms no other reader.
    csv.field_size_limit(max(csv.field_size_limit(), _MOST_READ))
    mark = DELIMITERS[read.delimiter]
    with path.open(encoding=_codec(path, read), newline="") as file:
        lines = _Lines(file, skipped=f"sep={mark}")
        rows = _numbered(csv.reader(lines, delimiter=mark, strict=True), lines, mark)
        yield from named_rows(rows, terms, read)


def named_rows(rows: Iterator[tuple[int, list[str]]], terms: DataTerms, read: FileTerms) -> Rows:
    """Yield each row's number and its cells by column; the first row has the columns' names.

    Raises:
        CellProblem: a column is missing or is listed twice, or a row does not fit the header.
    """
    _, header = next(rows, (1, []))
    names = [read.name(composed(name.strip())) for name in header]
    _check_header(names, terms, DELIMITERS[read.delimiter])
    for line, cells in rows:
        row = [composed(cell.strip()) for cell in cells]
        if any(row):
            yield line, _by_name(names, row, line)


def _codec(path: Path, read: FileTerms) -> str:
    """Return the codec that reads a file.

    Raises:
        CellProblem: the site says an encoding in which any bytes are text, and they are UTF-8.
    """
    if read.encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
        return "utf-8-sig"
    western = codecs.lookup(read.encoding).name in ("iso8859-1", "iso8859-15", "cp1252")
    if western and (lines := two_encodings(path)):
        raise CellProblem(
            f"encoding is {read.encoding!r}, and the file is in two encodings: line {lines[0]} is "
            f"UTF-8 and line {lines[1]} is not; write all of it in one encoding"
        )
    if single_byte(read.encoding) and _is_utf8(path):
        raise CellProblem(
            f"encoding is {read.encoding!r}, but the letters of the file are UTF-8; take encoding "
            "out of the site's [data], or they would be read as others"
        )
    return read.encoding


def _is_utf8(path: Path) -> bool:
    """Say whether a file holds letters beyond ASCII, and all of them in UTF-8."""
    beyond = False
    try:
        with path.open(encoding="utf-8") as file:
            while part := file.read(1 << 20):
                beyond = beyond or not part.isascii()
    except UnicodeDecodeError:
        return False
    return beyond


def two_encodings(path: Path) -> tuple[int, int] | None:
    """Return a line that is UTF-8 with letters beyond ASCII, and one that is not UTF-8.

    None where a file has not both. Two bytes of Latin-1 that happen to be a letter in UTF-8 are
    hardly ever words, so such a file was put together from parts.
    """
    first: list[int | None] = [None, None]
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.isascii():
                continue
            try:
                line.decode("utf-8")
                place = 0
            except UnicodeDecodeError:
                place = 1
            if first[place] is None:
                first[place] = number
            if first[0] is not None and first[1] is not None:
                return first[0], first[1]
    return None


def encoding_hint(path: Path) -> str:
    """Return what a file that is not UTF-8 seems to be, and what to do."""
    data = path.read_bytes()
    if data.startswith(UTF16_MARKS):
        return (
            'it begins like UTF-16 ("Unicode text"); set encoding = "utf-16" in [data] of '
            "site.toml, or export it as UTF-8 CSV"
        )
    if b"\0" in data:
        return "it holds zero bytes, which no text file has; export it as UTF-8 CSV"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        if lines := two_encodings(path):
            return (
                f"it is in two encodings: line {lines[0]} is UTF-8 and line {lines[1]} is not; "
                "write all of it in one encoding"
            )
        return (
            f"line {line} seems to be in Latin-1 or Windows-1252, in which accented letters are "
            'single bytes; set encoding = "windows-1252" in [data] of site.toml if that is so, or '
            "export it as UTF-8 CSV"
        )
    return "export it as UTF-8 CSV"


class _Lines:
    """The lines of a file, which remembers those of the row that is being read.

    A first line that only names the separator, as spreadsheet programs write it, is passed over
    where it says what the site says.
    """

    def __init__(self, file: Iterable[str], *, skipped: str) -> None:
        self._file = iter(file)
        self.first = 1
        if skipped:
            line = next(self._file, None)
            told = "" if line is None else line.strip("\r\n\ufeff").strip('"').lower()
            if line is not None and told != skipped:
                self._file = chain([line], self._file)
            elif line is not None:
                self.first = 2
        self.row: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._file)
        self.row.append(line)
        return line


def _numbered(
    reader: Iterator[list[str]], lines: _Lines, mark: str
) -> Iterator[tuple[int, list[str]]]:
    """Yield rows that are not blank with the number of their first line."""
    line = lines.first
    while True:
        lines.row.clear()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise CellProblem(_broken(error, line, "".join(lines.row), mark)) from error
        if cells:
            yield line, cells
        line += len(lines.row)


def _broken(error: csv.Error, line: int, text: str, used: str) -> str:
    if "field limit" in str(error):
        return (
            f"line {line}, column {_column_reached(text, used)}: longer than {_MOST_READ} "
            "characters; is a closing quote missing?"
        )
    for mark in _SEPARATORS:
        if line == 1 and mark != used and f'"{mark}' in text:
            return f"line 1: {_separated_by(mark)}"
    return f"line {line}: {error}"


def _separated_by(mark: str) -> str:
    named = next(name for name, one in DELIMITERS.items() if one == mark)
    return (
        f'the file is separated by {_SEPARATORS[mark]}. Set delimiter = "{named}" in [data] of '
        "site.toml, or export it as CSV with commas"
    )


def _column_reached(text: str, mark: str) -> int:
    """Return which cell of a row, from 1, has grown too long when reading stopped."""
    column, length, quoted = 1, 0, False
    for character in text:
        length += 1
        if character == '"':
            quoted = not quoted
        elif character == mark and not quoted:
            column, length = column + 1, 0
        if length > _MOST_READ:
            break
    return column


def _check_header(names: Sequence[str], terms: DataTerms, used: str) -> None:
    if not any(names):
        raise CellProblem("the file is empty" if not names else "line 1: no column has a name")
    needed = needed_fields(terms)
    missing = [name for name in needed if name not in names]
    if missing:
        raise CellProblem(f"line 1: no column {', '.join(missing)}{_instead(names, missing, used)}")
    counted = Counter(filter(None, names))
    twice = sorted(name for name, count in counted.items() if count > 1)
    if twice:
        raise CellProblem(f"line 1: column {', '.join(twice)} is listed twice")


def _instead(names: Sequence[str], missing: Sequence[str], used: str) -> str:
    """Say what kind of file has such a first line, where it can be recognised."""
    first = names[0]
    if first.lower().startswith("sep="):
        return (
            '; the line is "sep=", which only a spreadsheet program reads. Set delimiter in [data] '
            "of site.toml to what it names, or delete the line and let commas separate the cells"
        )
    for mark in _SEPARATORS:
        if mark != used and missing[0] in (
            name.strip(' "') for name in used.join(names).split(mark)
        ):
            return f"; {_separated_by(mark)}"
    for name in names:
        seen = "".join(character for character in name if not invisible(character))
        if seen in missing:
            return (
                f"; a column that looks like {seen} holds {invisible(name)}, which is invisible; "
                "remove-invisible = true in [data] of site.toml takes it out"
            )
    plain = {name.casefold(): name for name in names}
    other = [name for name in missing if name.casefold() in plain]
    if other:
        return f"; {', '.join(other)} is there in other small and capital letters"
    return ""


def _by_name(names: Sequence[str], row: Sequence[str], line: int) -> dict[str, str]:
    beyond = any(row[len(names) :])
    if len(row) < len(names) or beyond:
        hint = ""
        if beyond:
            hint = (
                "; a comma within a value, as a decimal comma, needs quotes, or another delimiter"
            )
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


register(
    FileKind(
        format="csv", name="CSV", endings=(), keys=frozenset({"encoding", "delimiter"}),
        rows=table_rows,
    )
)  # fmt: skip
register(JSON_LINES)
register(PARQUET)
register(FileKind(
    format="xlsx", name="a spreadsheet", endings=(".xlsx",), keys=frozenset({"sheet"}),
    rows=lambda path, terms, read: named_rows(sheet_rows(path, read), terms, read),
))  # fmt: skip


MAX_PROBLEMS = 10
# A group column that is emptier than this says nothing of the groups, whatever is left over.
MAX_EMPTY_GROUPS = 0.5


def read_records(
    file: Path | DataFile,
    terms: DataTerms,
    *,
    task: str = "classification",
    beside: Sequence[BesideColumn] = (),
) -> Records:
    """Read, check and word the records of a file.

    Args:
        file: CSV with a header line, JSON lines, Parquet or a spreadsheet; a path alone is read in
            plain form: UTF-8, commas, decimal points.
        terms: the charter's schema.
        task: the charter's `model.task`, which says what target a cell of the label means.
        beside: columns to read beside the schema.

    Raises:
        DataError: unreadable, empty, a column missing, an unknown label, a value out of range or
            undeclared, a record in no declared group, a group column that is mostly empty; lists
            up to ten problems at once.
    """
    own = DataFile.of(file)
    reading, others = _Reading(terms, find_task(task), own), BesideReading(beside)
    for line, row in raw_rows(file, terms):
        kept = len(reading.values)
        reading.add(line, row)
        reading.problems += others.add(line, row, kept=len(reading.values) > kept)
        if len(reading.problems) >= MAX_PROBLEMS:
            break
    records = reading.finish(own.path)
    return dataclasses.replace(records, beside=others.columns()) if beside else records


def records_of(
    rows: Iterable[tuple[int, Mapping[str, str]]],
    file: DataFile,
    terms: DataTerms,
    *,
    task: str,
) -> Records:
    """Check and word some rows of a file, as `read_records` does with all; there may be none.

    How empty columns are is no reason to refuse here.

    Raises:
        DataError: a row is not as the schema says; lists up to ten problems at once.
    """
    reading = _Reading(terms, find_task(task), file)
    for line, row in rows:
        reading.add(line, row)
        if len(reading.problems) >= MAX_PROBLEMS:
            break
    reading.refuse_problems(file.path)
    return reading.records()


def raw_rows(
    file: Path | DataFile, terms: DataTerms, *, by: str = "the charter's schema says"
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line number and cells of each row of a file with the charter's columns.

    Cells are stripped and in Unicode's composed form. Rows and columns with nothing in them, such
    as spreadsheet programs leave behind, are passed over; a nameless column with values is not.

    Sensitive: the cells are records.

    Args:
        file: as in `read_records`.
        terms: what columns it must have.
        by: who asks for them, in messages.

    Raises:
        DataError: unreadable, not UTF-8, not CSV, or a column of the charter is missing.
    """
    path, read = DataFile.of(file).path, DataFile.of(file).read
    if path.exists() and not path.is_file():
        raise DataError(f"data file {path} cannot be read: it is no ordinary file")
    try:
        rows = kind_of(path, read).rows(path, terms, read)
        yield from rows if not read.said else _as_said(rows, terms, read)
    except OSError as error:
        raise DataError(f"data file {cannot_read(path, error)}") from error
    except UnicodeError as error:
        if "encoding" in read.said:
            raise DataError(
                f"data file {path} is not in the encoding {read.encoding!r} of the site's [data]"
            ) from error
        raise DataError(f"data file {path} is not UTF-8 text; {encoding_hint(path)}") from error
    except (csv.Error, CellProblem) as error:
        raise DataError(f"data file {path} is not as {by}: {error}") from error


def row_identity(row: Mapping[str, str], terms: DataTerms, read: FileTerms) -> bytes:
    """Return the hash of a row of `raw_rows`, in the ledger and in the split.

    The model reads free text as it was written. Here it is in the plain form of the site's terms,
    as every other cell is already: which column a charter calls its text changes no identity.
    """
    if not read.said or terms.content is None:
        return row_hash(row)
    named = dict(row)
    for name in set(terms.content.fields).intersection(row):
        with contextlib.suppress(CellProblem):  # two days at once: it stays as it is
            named[name] = read.cell(row[name])
    return row_hash(named)


def _as_said(rows: Rows, terms: DataTerms, read: FileTerms) -> Rows:
    """Yield rows with each cell in plain form; free text stays as it was written."""
    numbers = {column.name for column in terms.columns if column.kind == "number"}
    written = set(terms.content.fields) if terms.content else set[str]()
    for line, row in rows:
        for name in row.keys() - written:
            where = f"line {line}, column {name}"
            if name in numbers and (problem := read.number_problem(row[name])):
                raise CellProblem(f"{where}: {problem}")
            try:
                row[name] = read.cell(row[name])
            except CellProblem as problem:
                raise CellProblem(f"{where}: {problem}") from problem
        yield line, row


class _Reading:
    """Records and problems gathered so far from one file."""

    def __init__(self, terms: DataTerms, task: LearningTask, file: DataFile) -> None:
        self.terms, self.task, self.read = terms, task, file.read
        self.looked_for: PersonalTerms | None = file.personal
        self.personal = 0
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
        digest = row_identity(row, self.terms, self.read)
        self.all_hashes.append(digest)
        if unlabelled(row, self.terms):
            self.dropped[f"{self.terms.labels.column} is empty"] += 1
            return
        before = len(self.problems)
        values: dict[str, Value] = {}
        empty: list[str] = []
        treated = PersonalData(self.looked_for)
        for column in self.terms.columns:
            raw = row[column.name]
            if not raw and column.on_empty == "drop-row":
                empty.append(column.name)
                self.empty[column.name] += 1
                continue
            try:
                value = parse_cell(raw, column)
            except CellProblem as problem:
                self._problem(line, column.name, problem)
                continue
            if column.kind == "text" and isinstance(value, str):
                value = treated.text(value, f"column {column.name}")
            values[column.name] = value
        label = self._label(line, row)
        content = self._content(line, row, treated)
        self.problems += treated.refused(line)
        person = self._person(line, row)
        if empty:
            self.dropped[f"{empty[0]} is empty"] += 1
        elif len(self.problems) == before and self._possible(line, row, values):
            self._keep(line, digest, person, values, label, content)
            self.personal += treated.found

    def _possible(self, line: int, row: Mapping[str, str], values: Mapping[str, Value]) -> bool:
        """Say whether the record breaks no rule of the charter; note the first that it breaks."""
        label = self.terms.label
        number = label.by_cell.get(row[label.column]) if label else None
        name = "" if label is None or number is None else label.names[number]
        for rule in self.terms.rules or ():
            if not rule.broken_by(values, name):
                continue
            if rule.on_broken == "drop-row":
                self.dropped[f"breaks rule {rule.name}"] += 1
            else:
                self.problems.append(f"line {line}: breaks rule {rule.name}: {rule.why}")
            return False
        return True

    def finish(self, path: Path) -> Records:
        self.problems += self._empty_groups()
        self.refuse_problems(path)
        if not self.values:
            reasons = "; ".join(f"{count} rows: {why}" for why, count in self.dropped.items())
            raise DataError(f"data file {path} holds no usable record ({reasons or 'no rows'})")
        return self.records()

    def refuse_problems(self, path: Path) -> None:
        if self.problems:
            more = "" if len(self.problems) < MAX_PROBLEMS else "\n  - and perhaps more"
            listed = "".join(f"\n  - {problem}" for problem in self.problems)
            raise DataError(
                f"data file {path} is not as the charter's schema says; nothing was used:"
                f"{listed}{more}"
            )

    def records(self) -> Records:
        told = text_columns(self.terms)
        return Records(
            texts=tuple(
                row_content(values, self.terms, told) if content is None else content
                for values, content in zip(self.values, self.contents, strict=True)
            ),
            labels=np.array(self.labels, dtype=np.int16),
            groups=np.array(self.groups, dtype=np.int64).reshape(
                len(self.labels), len(self.terms.sensitive)
            ),
            values=tuple(self.values),
            row_hashes=tuple(self.hashes),
            persons=tuple(self.persons),
            fingerprint=fingerprint(self.hashes),
            source_fingerprint=fingerprint(self.all_hashes),
            dropped=dict(self.dropped),
            personal=self.personal,
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
                self._options(line, [self._given(row, name) for name in label.options], target)
            return target
        allowed = self.task.cells(label)
        said = f"unknown label; allowed: {', '.join(allowed)}"
        self._problem(line, label.column, unlike(said, raw, allowed))
        return 0

    def _given(self, row: Mapping[str, str], name: str) -> str:
        """Return the cell of an option; empty where it says that there is none."""
        declared = next((one for one in self.terms.columns if one.name == name), None)
        return "" if declared and row[name] in declared.not_recorded else row[name]

    def _options(self, line: int, options: Sequence[str], target: int) -> None:
        """Refuse a question that has no right answer, or two."""
        given = [option for option in options if option]
        column, said = self.terms.labels.column, ""
        if not options[target]:
            said = "names an option that is empty"
        elif len(given) < 2:
            said = "one option only; a choice needs two"
        elif len(set(given)) < len(given):
            said = "two options are the same, so the right one is unknown"
        if said:
            self._problem(line, column, CellProblem(said))

    def _content(self, line: int, row: Mapping[str, str], treated: PersonalData) -> Content | None:
        """Return what the record says; None where the phrases of its columns are the text."""
        terms = self.terms.content
        if terms is None:
            return None
        try:
            said = read_content(row, terms)
        except CellProblem as problem:
            self.problems.append(f"line {line}: {problem}")
            return None
        # After the form was read: in the file, a turn's text is JSON with escapes.
        return treated.content(said, f"field {', '.join(terms.fields)}")

    def _person(self, line: int, row: Mapping[str, str]) -> bytes:
        """Return a hash of whose row it is; empty where the unit is the record."""
        column = self.terms.person
        if column and not row[column]:
            # A row of nobody could be anybody's second contribution.
            self._problem(line, column, CellProblem("empty; every row must name its person"))
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
