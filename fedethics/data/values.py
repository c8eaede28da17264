"""A value of Python as a record's field: what a file of JSON lines would have held in its place.

Data frames, Parquet files and spreadsheets give values with types; here they become what a line of
JSON says, so that a record has one identity whatever it was read from.
"""

from __future__ import annotations

import math
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from fedethics.data.json_lines import Number, cell
from fedethics.data.records import CellProblem

# What libraries say for "nothing here", beside None and NaN; by name, since none is imported.
_NOTHING = frozenset({"NAType", "NaTType", "NullType"})
# From here on, two whole numbers may be the same floating-point number.
_EXACT_INTEGERS = 2.0**53


def cell_of(value: Any, where: str) -> str:  # noqa: ANN401  any library's
    """Return a value as a cell of a CSV file would hold it.

    A whole number has no fraction (`1.0` is `1`, since a column with gaps comes as floats), nothing
    stands for None, NaN and their like, and a list or table is its canonical JSON.

    Raises:
        CellProblem: a value that no cell can hold; the error does not quote it.
    """
    return cell(plain(value, where), where)


def plain(value: Any, where: str) -> Any:  # noqa: ANN401  any library's, JSON
    """Return a value as `json_lines` reads one: texts, `Number`, booleans, None, lists and tables.

    Raises:
        CellProblem: an infinite number, or a type that JSON has no form for.
    """
    if value is None or type(value).__name__ in _NOTHING:
        return None
    if not isinstance(value, str) and hasattr(value, "tolist"):  # of numpy
        value = value.tolist()
    if isinstance(value, bool | str):
        return value
    if isinstance(value, float):
        return _number(value, where)
    if isinstance(value, int | Decimal):
        return Number(value)
    if isinstance(value, date | time):
        return _moment(value)
    if isinstance(value, list | tuple):
        return [plain(inner, where) for inner in value]
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {name: plain(inner, where) for name, inner in value.items()}
    raise CellProblem(
        f"{where}: a value of type {type(value).__name__}, which no cell can hold; make it a text "
        "or a number first"
    )


def _number(value: float, where: str) -> Number | None:
    if math.isnan(value):
        return None
    if math.isinf(value):
        raise CellProblem(f"{where}: an infinite number, which no cell can hold")
    whole = value.is_integer() and abs(value) < _EXACT_INTEGERS
    return Number(int(value)) if whole else Number(repr(value))


def _moment(value: date | time) -> str:
    """Return a date as its day where it has no time, as CSV writers do; else ISO 8601."""
    if isinstance(value, datetime):
        if value.tzinfo is None and value.time() == time():
            return value.date().isoformat()
        return value.isoformat(sep=" ")
    return value.isoformat()
