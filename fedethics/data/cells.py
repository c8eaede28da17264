"""One cell of a site's table: parsed and checked by its column, and worded for the model."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TypeAlias

from fedethics.charter.data_terms import NOT_RECORDED, Column
from fedethics.charter.spelling import comma_in_number, exact_number, invisible, why_unlike

Value: TypeAlias = float | str | None


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
        shown = value if column.kind == "text" else column.choices[value]
    else:
        shown = f"{value:g}"
    return column.phrase.replace("{value}", shown)


def unlike(said: str, raw: str, allowed: Collection[str]) -> CellProblem:
    """Return the problem `said`, and why `raw` may look as if it were allowed; never `raw`."""
    why = why_unlike(raw, allowed)
    return CellProblem(f"{said}; {why}" if why else said)


def _category(raw: str, column: Column) -> Value:
    if raw in column.not_recorded:
        return None
    choices = column.choices
    if raw not in choices:
        raise unlike(f"not one of {', '.join(choices)}", raw, (*choices, *column.not_recorded))
    return raw


def _free_text(raw: str, column: Column) -> Value:
    if raw in column.not_recorded:
        return None
    if len(raw) > column.max_chars:
        raise CellProblem(f"longer than {column.max_chars} characters")
    return raw


def _number(raw: str, column: Column) -> Value:
    exact = exact_number(raw)
    if raw in column.not_recorded:
        return None
    if exact is None or not math.isfinite(float(raw)):
        raise CellProblem(f"not a finite number{_no_number(raw)}")
    if exact in map(exact_number, column.not_recorded):
        return None
    number = float(raw)
    if not column.minimum <= number <= column.maximum:
        raise CellProblem(f"outside {column.minimum:g} to {column.maximum:g}")
    return number


def _no_number(raw: str) -> str:
    if comma_in_number(raw):
        return (
            "; it holds a comma, as a decimal comma or to mark thousands. Export numbers as 1234.5"
        )
    hidden = invisible(raw)
    return f"; it holds {hidden}, which no screen shows; remove it" if hidden else ""
