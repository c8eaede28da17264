"""One cell of a site's table: parsed and checked by its column, and worded for the model."""

from __future__ import annotations

import math
from typing import TypeAlias

from fedethics.charter.data_terms import Column

Value: TypeAlias = float | str | None
NOT_RECORDED = "not recorded"


class CellProblem(ValueError):
    """What is wrong with a cell and what is allowed. Never holds the cell's value."""


def parse_cell(raw: str, column: Column) -> Value:
    """Return the number, the category's raw value, the text, or None where nothing was recorded.

    Raises:
        CellProblem: not a number, out of range, not a declared category, or too long a text.
    """
    if not raw:
        return None
    if column.kind == "category":
        return _category(raw, column)
    if column.kind == "text":
        return _free_text(raw, column)
    return _number(raw, column)


def wording(value: Value, column: Column) -> str:
    """Return the column's phrase with `value` in it."""
    if value is None:
        shown = NOT_RECORDED
    elif isinstance(value, str):
        shown = value if column.kind == "text" else _choices(column)[value]
    else:
        shown = f"{value:g}"
    return column.phrase.replace("{value}", shown)


def _category(raw: str, column: Column) -> Value:
    if raw in column.not_recorded:
        return None
    choices = _choices(column)
    if raw not in choices:
        raise CellProblem(f"not one of {', '.join(choices)}")
    return raw


def _free_text(raw: str, column: Column) -> Value:
    if raw in column.not_recorded:
        return None
    if len(raw) > column.max_chars:
        raise CellProblem(f"longer than {column.max_chars} characters")
    return raw


def _number(raw: str, column: Column) -> Value:
    try:
        number = float(raw)
    except ValueError:
        number = math.nan
    if raw in column.not_recorded or number in map(_as_number, column.not_recorded):
        return None
    if not math.isfinite(number):
        raise CellProblem("not a finite number")
    if not column.minimum <= number <= column.maximum:
        raise CellProblem(f"outside {column.minimum:g} to {column.maximum:g}")
    return number


def _as_number(raw: str) -> float:
    try:
        return float(raw)
    except ValueError:
        return math.nan


def _choices(column: Column) -> dict[str, str]:
    """Map each allowed raw value of a category to the words for it."""
    pairs = (entry.partition("=") for entry in column.values)
    return {raw: shown or raw for raw, _, shown in pairs}
