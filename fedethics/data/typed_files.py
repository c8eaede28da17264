"""Files whose values have types: Parquet through pyarrow, spreadsheets through openpyxl.

Both packages are extras, loaded when such a file is read. A value becomes what JSON lines would say
(`values`), so that a record in Parquet has the identity of the same record in JSON lines or CSV.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fedethics.charter.data_terms import DataTerms
from fedethics.charter.spelling import composed
from fedethics.data.file_terms import FileTerms
from fedethics.data.files import FileKind, Rows
from fedethics.data.json_lines import CellsOf
from fedethics.data.records import CellProblem
from fedethics.data.values import cell_of, plain
from fedethics.errors import DataError

_ROWS_AT_ONCE = 4096


def parquet_rows(path: Path, terms: DataTerms, _read: FileTerms) -> Rows:
    """Yield each record's number, from 1, and its cells by field.

    Raises:
        DataError: pyarrow is not installed.
        CellProblem: no Parquet file, no record, a field is absent, or a value that no cell holds.
    """
    parquet = _package("pyarrow.parquet", extra="parquet")
    cells, number = CellsOf(terms), 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
                for record in batch.to_pylist():
                    number += 1
                    named = {
                        composed(name.strip()): plain(value, f"line {number}, field {name}")
                        for name, value in record.items()
                    }
                    yield number, cells(named, number)
    except _of_arrow() as error:
        raise CellProblem("it is no Parquet file, or a damaged one") from error
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
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except OSError:
        raise
    except Exception as error:
        # Whatever a library makes of a file that anybody may have written.
        raise CellProblem("it is no .xlsx file, or a damaged one") from error
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


def _package(name: str, *, extra: str) -> Any:  # noqa: ANN401  a module of an extra
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DataError(
            f"reading such a file needs the package {name.partition('.')[0]}, which is not "
            f'installed; install "fedethics[{extra}]", or export the records as CSV. Nothing was '
            "read"
        ) from error


def _of_arrow() -> type[Exception]:
    found: type[Exception] = importlib.import_module("pyarrow").ArrowInvalid
    return found


PARQUET = FileKind(format="parquet", name="Parquet", endings=(".parquet",), rows=parquet_rows)
