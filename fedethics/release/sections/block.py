"""What the report's template knows how to show: a figure with its numbers, and ways to write them.

Every figure has a caption that says what to look for, and a table with the same numbers, for
those who cannot or do not want to read drawings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from markupsafe import Markup

from fedethics.fairness import Estimate

NOTHING = "–"
# Of a value that noise carried out of its range; its interval stands beside it.
NO_ESTIMATE = "no estimate"
# Keeps an interval on one line.
NARROW = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows of text; the first cell of each row is its heading."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A figure, what to look for in it, and its numbers."""

    title: str
    drawing: Markup
    caption: str
    table: Table


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with fixed digits, or a dash where there is none."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def limits(low: float | None, high: float | None, digits: int = 3) -> str:
    """Return "low to high", with "no limit" for what is unbounded or absent."""
    ends = (
        f"{end:.{digits}f}" if end is not None and math.isfinite(end) else "no limit"
        for end in (low, high)
    )
    return f"{NARROW}to{NARROW}".join(ends)


def estimate_cells(estimate: Estimate, digits: int = 3) -> tuple[str, str]:
    """Return the value and its interval as two cells."""
    if estimate.cut:
        return NO_ESTIMATE, limits(estimate.low, estimate.high, digits)
    if math.isnan(estimate.figure):
        return NOTHING, estimate.note or "not defined"
    return number(estimate.figure, digits), limits(estimate.low, estimate.high, digits)


def group_label(group: str) -> str:
    """Return a group's name for people: intersections with a dot instead of an asterisk."""
    return group.replace("*", " · ")


def feature_label(feature: str) -> str:
    """Return a feature's name for people."""
    return feature.replace("*", " and ").replace("_", " ")


def listed(items: tuple[str, ...]) -> str:
    """Return "a, b and c"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
