"""What the report's template knows how to show: a figure with its numbers, and ways to write them.

Every figure has a caption that says what to look for, and a table with the same numbers, for
those who cannot or do not want to read drawings.

Tables and front matter of the cards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from fedethics import texts
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
    """A figure, what to look for in it, and its numbers.

    Attributes:
        drawing: empty where nobody should read one; then the caption says why.
    """

    title: str
    drawing: Markup
    caption: str
    table: Table


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A section of the reports, and of the data card, that one kind of sum has to itself.

    Attributes:
        words: what was found, in the gate's own sentence.
        explanation: how to read the tables.
        tables: by caption.
    """

    title: str
    words: str
    explanation: str
    tables: Mapping[str, Table]


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


def shortened(text: str, most: int) -> str:
    """Return a text on one line, cut after a whole word where it has more than `most` letters."""
    line = " ".join(text.split())
    if len(line) <= most:
        return line
    kept = line[:most].rpartition(" ")[0] or line[:most]
    return f"{kept.rstrip('.,;:')} …"


def first_rows(table: Table, most: int, *, more: str) -> Table:
    """Return at most so many rows; a last one says how many are left out, and where they are."""
    left = len(table.rows) - most
    if left <= 0:
        return table
    # One row less, so that the note takes the place of a row.
    note = (f"{left + 1} more: {more}", *("" for _ in table.head[1:]))
    return Table(head=table.head, rows=(*table.rows[: most - 1], note))


def markdown(table: Table) -> Markup:
    """Return a pipe table; what a cell holds cannot break out of it."""

    def line(cells: tuple[str, ...]) -> str:
        return f"| {' | '.join(texts.markdown(cell) for cell in cells)} |"

    rule = f"| {' | '.join(('---',) * len(table.head))} |"
    # Safe: every cell is escaped, and the rest is ours.
    return Markup("\n".join([line(table.head), rule, *map(line, table.rows)]))  # noqa: S704


def front_matter(values: Mapping[str, object]) -> Markup:
    """Return YAML, one key a line; values are spelled as JSON, which YAML contains."""
    # Safe: JSON keeps each value on its line and in its quotation marks.
    lines = (f"{key}: {texts.json_text(_plain(value))}" for key, value in values.items())
    # Who shows the card without knowing front matter must meet no tag and no comment.
    return Markup("\n".join(lines).replace("<", "\\u003c"))  # noqa: S704


def _plain(value: object) -> object:
    # YAML cannot spell a character beyond 16 bits as JSON does; what is left of them is printable.
    if isinstance(value, str):
        return texts.printed(value)
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
