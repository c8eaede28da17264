"""How a CSV file seems to be written: a proposal of `[data]` that a person sees before it is used.

Guarantee: only what all of the file bears out is proposed. A mark or a day that could be read in
two ways is left as it is, and its column is then refused or left out with that reason.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import islice
from pathlib import Path

from fedethics.charter.spelling import MEANS_NOTHING, exact_number, invisible
from fedethics.data.file_terms import DELIMITERS, PLAIN, DataFile, Delimiter, FileTerms
from fedethics.data.files import kind_of
from fedethics.data.reading import UTF16_MARKS, two_encodings
from fedethics.drafting.source import file_rows
from fedethics.errors import DataError
from fedethics.ownership import cannot_read

_ROWS_TRIED = 50
# The fewest marks first: where several read every number alike, the first one is proposed.
_MARKS = (
    PLAIN,
    FileTerms(decimal_mark="comma"),
    FileTerms(thousands_mark="comma"),
    FileTerms(decimal_mark="comma", thousands_mark="point"),
    FileTerms(thousands_mark="space"),
    FileTerms(decimal_mark="comma", thousands_mark="space"),
    FileTerms(thousands_mark="apostrophe"),
    FileTerms(decimal_mark="comma", thousands_mark="apostrophe"),
)
_MARKED = re.compile(r"[+-]?[0-9][0-9.,'\u2019 \u00a0\u2009\u202f]*", re.ASCII)
_DAY = re.compile(r"([0-9]{1,4})([-/.])([0-9]{1,2})\2([0-9]{1,4})", re.ASCII)
_ISO = "%Y-%m-%d"
_ORDERS = ("Y{0}m{0}d", "d{0}m{0}Y", "m{0}d{0}Y", "d{0}m{0}y", "m{0}d{0}y")


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What a file seems to be.

    Attributes:
        terms: how it would be read.
        said: the same in words, for a person; empty for a file in plain form.
    """

    terms: FileTerms
    said: str = ""


def seen(file: DataFile) -> Seen:
    """Return how a file seems to be written; of a file with terms, or of no CSV, nothing new.

    Raises:
        DataError: unreadable, or in two encodings at once.
    """
    if file.read.said or kind_of(file.path).format != "csv":
        return Seen(terms=file.read)
    try:
        encoding = _encoding(file.path)
        delimiter = _delimiter(file.path, encoding)
    except OSError as error:
        raise DataError(f"data file {cannot_read(file.path, error)}") from error
    raw = replace(PLAIN, encoding=encoding, delimiter=delimiter)
    try:
        rows = file_rows(DataFile(file.path, raw), ())
    except DataError:
        # An error of its own where it is read, with what is known by then.
        return Seen(terms=raw, said=_words(raw))
    cells = _cells(rows)
    marks, days = _marks(cells), _days(cells)
    found = replace(
        raw, decimal_mark=marks.decimal_mark, thousands_mark=marks.thousands_mark,
        date_format=days, remove_invisible=_hidden(rows[0], cells),
    )  # fmt: skip
    return Seen(terms=found, said=_words(found))


def _words(terms: FileTerms) -> str:
    said = {
        "encoding": terms.encoding, "delimiter": terms.delimiter,
        "decimal-mark": terms.decimal_mark, "thousands-mark": terms.thousands_mark,
        "date-format": " and ".join(terms.date_format), "remove-invisible": "true",
    }  # fmt: skip
    return ", ".join(f"{key} {said[key]}" for key in terms.said)


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        if file.read(2) in UTF16_MARKS:
            return "utf-16"
    try:
        with path.open(encoding="utf-8") as text:
            while text.read(1 << 20):
                pass
    except UnicodeDecodeError:
        if lines := two_encodings(path):
            raise DataError(
                f"data file {path} is in two encodings: line {lines[0]} is UTF-8 and line "
                f"{lines[1]} is not. Write all of it in one encoding. Nothing was written"
            ) from None
        return _single_byte(path)
    return "utf-8"


def _single_byte(path: Path) -> str:
    try:
        with path.open(encoding="windows-1252") as text:
            while text.read(1 << 20):
                pass
    except UnicodeDecodeError:
        return "latin-1"
    return "windows-1252"


def _delimiter(path: Path, encoding: str) -> Delimiter:
    """Return the name of the mark that makes rows of equal length; comma where none does."""
    best: Delimiter = "comma"
    most = 1
    codec = "utf-8-sig" if encoding == "utf-8" else encoding
    with path.open(encoding=codec, newline="") as file:
        lines = list(islice(file, _ROWS_TRIED))
    first = lines[0].strip().strip('"').lower() if lines else ""
    for name, mark in DELIMITERS.items():
        if first == f"sep={mark}":
            return name
        if (cells := _width(lines, mark)) > most:
            best, most = name, cells
    return best


def _width(lines: Sequence[str], mark: str) -> int:
    """Return the cells of each row under a mark, or 0 where rows differ."""
    try:
        rows = [row for row in csv.reader(lines, delimiter=mark, strict=True) if row]
    except csv.Error:
        # A quoted cell that goes on beyond the lines that were tried, or is none under this mark.
        rows = []
        with_rest = csv.reader(lines, delimiter=mark)
        rows = [row for row in with_rest if row][:-1]
    widths = {len(row) for row in rows}
    # One blank line at the end of an export may have fewer.
    return widths.pop() if len(widths) == 1 else 0


def _cells(rows: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """Return each column's different values, without those that mean nothing."""
    found: dict[str, set[str]] = {name: set() for name in rows[0]}
    for row in rows:
        for name, cell in row.items():
            found[name].add(cell)
    return {
        name: sorted(cell for cell in cells if cell and cell.lower() not in MEANS_NOTHING)
        for name, cells in found.items()
    }


def _marks(cells: Mapping[str, Sequence[str]]) -> FileTerms:
    """Return the marks under which every column of numbers is one, if just one reading does."""
    numeric = [
        values
        for values in cells.values()
        if values and all(map(_MARKED.fullmatch, values)) and not all(map(_DAY.fullmatch, values))
        and any(any(mark in cell for mark in ".,'\u2019 \u00a0\u2009\u202f") for cell in values)
    ]  # fmt: skip
    # A list of digits such as "1, 2" is no number under any mark; its column says nothing of marks.
    numeric = [values for values in numeric if any(_fits(marks, values) for marks in _MARKS)]
    fitting = [marks for marks in _MARKS if all(_fits(marks, values) for values in numeric)]
    readings = {tuple(marks.cell(cell) for values in numeric for cell in values)
                for marks in fitting}  # fmt: skip
    return fitting[0] if fitting and len(readings) == 1 else PLAIN


def _fits(marks: FileTerms, cells: Iterable[str]) -> bool:
    return all(
        exact_number(marks.cell(cell)) is not None and not marks.number_problem(cell)
        for cell in cells
    )


def _days(cells: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the formats of the columns of days; none unless each spelling is one format alone."""
    found: dict[str, None] = {}
    for values in cells.values():
        if values and all(map(_DAY.fullmatch, values)):
            found |= dict.fromkeys(_formats(values))
    every = [cell for values in cells.values() for cell in values if _DAY.fullmatch(cell)]
    twice = any(len({day for way in found if (day := _day(way, cell))}) > 1 for cell in every)
    return () if twice or set(found) <= {_ISO} else tuple(found)


def _formats(values: Sequence[str]) -> Iterator[str]:
    by_shape: dict[tuple[str, int], list[str]] = {}
    for cell in values:
        match = _DAY.fullmatch(cell)
        if match is not None:
            first, mark, _, last = match.groups()
            by_shape.setdefault((mark, 1 if len(first) == 4 else -len(last)), []).append(cell)
    formats = []
    for (mark, _), alike in by_shape.items():
        ways = ["%" + order.format(f"{mark}%") for order in _ORDERS]
        fitting = [way for way in ways if all(_day(way, cell) for cell in alike)]
        if len(fitting) != 1:
            return  # a day that two formats read: the column stays as it is
        formats += fitting
    yield from formats


def _day(way: str, cell: str) -> date | None:
    try:
        return datetime.strptime(cell, way).date()
    except ValueError:
        return None


def _hidden(names: Iterable[str], cells: Mapping[str, Sequence[str]]) -> bool:
    """Say whether an invisible character makes two of what is one value, or stands in a header."""
    remove = FileTerms(remove_invisible=True)
    if any(invisible(name) and remove.name(name) != name for name in names):
        return True
    return any(
        len({remove.cell(cell) for cell in values}) < len(values)
        for values in cells.values()
        if any(not cell.isascii() for cell in values)
    )
