"""Files whose values have types: Parquet through pyarrow, spreadsheets through openpyxl.

Both packages are extras, loaded when such a file is read. A value becomes what JSON lines would say
(`values`), so that a record in Parquet has the identity of the same record in JSON lines or CSV.
"""

from __future__ import annotations

import contextlib
import importlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fedethics.charter.data_terms import DataTerms
from fedethics.charter.spelling import composed
from fedethics.data.file_terms import FileTerms
from fedethics.data.files import FileKind, Rows
from fedethics.data.json_lines import CellsOf
from fedethics.data.records import CellProblem
from fedethics.data.values import cell_of, plain
from fedethics.errors import DataError

_ROWS_AT_ONCE = 4096
_NARROW = {"float": np.float32, "halffloat": np.float16}


def parquet_rows(path: Path, terms: DataTerms, _read: FileTerms) -> Rows:
    """Yield each record's number, from 1, and its cells by field.

    Raises:
        DataError: pyarrow is not installed.
        CellProblem: no Parquet file, no record, a field is absent, twice or without a name, or a
            value that no cell holds.
    """
    parquet = _package("pyarrow.parquet", extra="parquet")
    cells, number = CellsOf(terms), 0
    with path.open("rb"):  # what the system refuses is told apart from what is no Parquet
        pass
    with _damaged("Parquet file"), parquet.ParquetFile(path) as file:
        names = _names(file.schema_arrow.names)
        for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
            # By place: a table of names would hold the last of two columns of one name.
            for values in zip(*map(_values, batch.columns), strict=True):
                number += 1
                named = {
                    name: plain(value, f"line {number}, field {name}")
                    for name, value in zip(names, values, strict=True)
                }
                yield number, cells(named, number)
    if not number:
        raise CellProblem("the file is empty")


def sheet_rows(path: Path, read: FileTerms) -> Iterator[tuple[int, list[str]]]:
    """Yield each row's number and its cells, that of the columns' names first.

    Raises:
        DataError: openpyxl is not installed.
        CellProblem: no spreadsheet file, no such sheet, several and none named, or a value that no
            cell holds.
    """
    openpyxl = _package("openpyxl", extra="xlsx")
    with path.open("rb"):  # what the system refuses is told apart from what is no spreadsheet
        pass
    with _damaged(".xlsx file"):
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        yield from _cells(book, read)


def _cells(book: Any, read: FileTerms) -> Iterator[tuple[int, list[str]]]:  # noqa: ANN401
    try:
        names = book.sheetnames
        if read.sheet not in names and (read.sheet or len(names) != 1):
            raise CellProblem(
                f"sheet: {'no sheet of that name' if read.sheet else 'several sheets'}; set sheet "
                f"in [data] of site.toml to one of {', '.join(names)}"
            )
        for number, row in enumerate(book[read.sheet or names[0]].iter_rows(values_only=True), 1):
            yield number, [cell_of(value, f"line {number}") for value in row]
    finally:
        book.close()


@contextlib.contextmanager
def _damaged(what: str) -> Iterator[None]:
    """Tell whatever a library makes of a file that anybody may have written in one sentence.

    Sensitive: a library's own message may hold a cell's value.
    """
    try:
        yield
    except (CellProblem, DataError, MemoryError):
        raise
    except Exception as error:
        raise CellProblem(f"it is no {what}, or a damaged one") from error


def _names(names: Sequence[str]) -> list[str]:
    """Return the columns' names as they are compared with the charter's."""
    found = [composed(name.strip()) for name in names]
    if not all(found):
        raise CellProblem("a column has no name")
    if twice := sorted(name for name, count in Counter(found).items() if count > 1):
        raise CellProblem(f"column {', '.join(twice)} is listed twice")
    return found


def _values(column: Any) -> list[Any]:  # noqa: ANN401  a column of pyarrow
    """Return a column's values.

    Raises:
        CellProblem: one of them is nothing that Python has, such as a day beyond the year 9999.
    """
    try:
        found: list[Any] = column.to_pylist()
    except (OverflowError, ValueError) as error:
        raise CellProblem(
            f"a value of type {column.type} cannot be read (a day beyond the year 9999, a time in "
            "nanoseconds, letters that are no UTF-8, a table with a field twice); write the column "
            "as text"
        ) from error
    if narrow := _NARROW.get(str(column.type)):
        # As CSV writers spell it: 0.1, and not the 0.10000000149011612 that it is in double.
        return [one if one is None else float(str(narrow(one))) for one in found]
    return found


def _package(name: str, *, extra: str) -> Any:  # noqa: ANN401  a module of an extra
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DataError(
            f"reading such a file needs the package {name.partition('.')[0]}, which is not "
            f'installed; install "fedethics[{extra}]", or export the records as CSV. Nothing was '
            "read"
        ) from error


PARQUET = FileKind(format="parquet", name="Parquet", endings=(".parquet",), rows=parquet_rows)
