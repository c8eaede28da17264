"""A CSV file as rows of cells, or what kind of file it is instead: nothing is guessed.

Guarantee: a message names line, column and what is allowed, and never holds a cell of any record.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fedethics.charter.data_terms import MAX_CELL, DataTerms
from fedethics.charter.spelling import composed, invisible
from fedethics.data.cells import CellProblem

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
    needed = [column.name for column in terms.columns] + [terms.label.column]
    needed += [terms.person] if terms.person else []
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
            return (
                f"; a column that looks like {seen} holds {invisible(name)}, which no screen shows"
            )
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
