"""Columns of a charter, from the cells of a file: kind, range or values, phrase, what is empty.

What is decided here is read off the file's records. That serves a simulation on the machine that
has the file; before sites sign, ranges and values must be set from knowledge instead.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fedethics import texts
from fedethics.charter.data_terms import Column
from fedethics.charter.spelling import (
    MEANS_NOTHING,
    comma_in_number,
    escaped,
    exact_number,
)
from fedethics.data.admitted import longer, outwards

# A column with more different values is free text.
MOST_VALUES = 30
_LONGEST_VALUE = 60
_ID = re.compile(r"(?:.*[\s_-])?(?:id|uuid|guid|mrn)", re.IGNORECASE)
# With fewer rows, different values in all of them say nothing.
_ROWS_THAT_TELL = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundColumn:
    """A column as it is in the file.

    Attributes:
        terms: what the charter would say of it.
        empty: cells without anything.
        note: what a person should know of the choice.
    """

    terms: Column
    empty: int
    note: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """A column that the draft does not read, and why."""

    name: str
    why: str


def found_column(
    name: str, cells: Sequence[str], *, free_text: bool = False, told: bool = True
) -> FoundColumn | LeftOut:
    """Return what a charter would say of a column, or why it should not be read.

    Args:
        name: its header.
        cells: of all records, stripped; "" for nothing.
        free_text: read it as text, whatever the cells look like.
        told: whether the model reads it.
    """
    counted = Counter(filter(None, cells))
    empty = len(cells) - counted.total()
    if why := _unfit(name, counted, free_text=free_text or not told):
        return LeftOut(name=name, why=why)
    phrase = f"{words(name)} {{value}}" if told else ""
    on_empty: Literal["drop-row", "say"] = "say" if empty and told else "drop-row"
    nothing = tuple(cell for cell in counted if cell.lower() in MEANS_NOTHING)
    numbers = [cell for cell in counted if cell not in nothing]
    if not free_text and numbers and all(map(_is_number, numbers)):
        low, high = outwards([float(cell) for cell in numbers])
        terms = Column(
            name=name, kind="number", phrase=phrase, minimum=low, maximum=high,
            not_recorded=nothing, on_empty=on_empty,
        )  # fmt: skip
        return FoundColumn(terms=terms, empty=empty, note="range from this file, rounded outwards")
    if not free_text and (not told or _are_values(counted)):
        terms = Column(
            name=name, kind="category", phrase=phrase,
            values=_values(counted), on_empty=on_empty,
        )  # fmt: skip
        return FoundColumn(terms=terms, empty=empty, note="values as they are in this file")
    longest = max(map(len, counted))
    terms = Column(
        name=name, kind="text", phrase=phrase, max_chars=longer(longest), on_empty=on_empty
    )
    return FoundColumn(terms=terms, empty=empty, note="free text; a longer one is an error")


def words(name: str) -> str:
    """Return a header as words for a phrase: "chest_pain" is "chest pain"."""
    plain = "".join(
        character if unicodedata.category(character)[0] in "LMN" else " " for character in name
    )
    return " ".join(plain.split()) or "value"


def _unfit(name: str, counted: Counter[str], *, free_text: bool) -> str:
    if not counted:
        return "empty in every record"
    if texts.fault(name):
        return "its name has a character that no charter may hold"
    if free_text:
        return ""
    if len(counted) == 1:
        return "only one value, which says nothing about a record"
    if _with_commas(counted):
        return "numbers with a comma; export them as 1234.5 and draft again"
    rows = counted.total()
    if repeating_id(name, counted):
        return (
            "an id by its name, and values repeat; where they are persons, draft again with "
            f"--person {name}"
        )
    single = len(counted) == rows >= _ROWS_THAT_TELL
    if single and (_ID.fullmatch(name) or _is_counter(list(counted))):
        return "a different value in every record, like an id"
    if (
        single
        and max(map(len, counted)) <= _LONGEST_VALUE
        and not any(" " in cell or _is_number(cell) for cell in counted)
    ):
        return "a different word in every record, like an id"
    return ""


def repeating_id(name: str, counted: Counter[str]) -> bool:
    """Say whether a column is an id by its name, and several records have one."""
    return bool(_ID.fullmatch(name)) and MOST_VALUES < len(counted) < counted.total()


def _is_number(cell: str) -> bool:
    return exact_number(cell) is not None and math.isfinite(float(cell))


def _is_counter(cells: Sequence[str]) -> bool:
    """Say whether the cells number the records."""
    if not all(cell.isascii() and cell.isdigit() for cell in cells):
        return False
    numbers = sorted(map(int, cells))
    return numbers[-1] - numbers[0] == len(numbers) - 1


def _are_values(counted: Counter[str]) -> bool:
    return (
        len(counted) <= MOST_VALUES
        and 2 * len(counted) <= counted.total()
        and max(map(len, counted)) <= _LONGEST_VALUE
        and not any(map(texts.fault, counted))
    )


def _with_commas(counted: Counter[str]) -> bool:
    left = [cell for cell in counted if cell.lower() not in MEANS_NOTHING]
    number = [comma_in_number(cell) for cell in left if not _is_number(cell)]
    return bool(number) and all(number)


def _values(counted: Counter[str]) -> tuple[str, ...]:
    """Return the entries of a category; another spelling is shown as the one most used."""
    shown = spellings(counted)
    return tuple(
        escaped(cell) if shown[cell] == cell else f"{escaped(cell)}={escaped(shown[cell])}"
        for cell in sorted(counted)
    )


def spellings(counted: Mapping[str, int]) -> dict[str, str]:
    """Return for each value its most used spelling, small and capital letters taken as alike."""
    most: dict[str, str] = {}
    for value in sorted(counted, key=lambda one: (-counted[one], one)):
        most.setdefault(value.casefold(), value)
    return {value: most[value.casefold()] for value in counted}


def distinct(cells: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield each value that is not empty with how often it stands, in order of the values."""
    yield from sorted(Counter(filter(None, cells)).items())
