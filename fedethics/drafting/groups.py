"""Groups of a sensitive feature, from the cells of a file; small ones are proposed for merging."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from fedethics import texts
from fedethics.charter.data_terms import NOT_RECORDED, Column, SensitiveColumn
from fedethics.charter.spelling import escaped, exact_number
from fedethics.data.reading import MAX_EMPTY_GROUPS
from fedethics.data.records import group_index, parse_cell
from fedethics.drafting.columns import (
    MOST_VALUES,
    FoundColumn,
    LeftOut,
    distinct,
    found_column,
    spellings,
)
from fedethics.errors import DataError

# With fewer records, noise and chance say more of a group's figures than the model does.
SMALL = 30
_EXACT_NUMBERS = 6
# Spellings of one group, where the column is called so.
_ALIKE = ({"f", "female", "woman", "w"}, {"m", "male", "man"})
_SEX = re.compile(r"sex|gender", re.IGNORECASE)
_NO_NAME = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundFeature:
    """A sensitive feature as the draft proposes it.

    Attributes:
        column: as the draft reads it.
        terms: what the charter would say of its groups.
        sizes: records of each group. Sensitive: exact counts of this file.
    """

    column: FoundColumn
    terms: SensitiveColumn
    sizes: Mapping[str, int]

    @property
    def small(self) -> tuple[str, ...]:
        """Groups that are still below `SMALL` records."""
        return tuple(group for group, size in self.sizes.items() if size < SMALL)


def found_feature(name: str, cells: Sequence[str]) -> FoundFeature:
    """Return a sensitive feature with its groups.

    A number of many values is cut in three by its distribution. Values below `SMALL` records are
    put together as "other", where there are two of them. Where many records say nothing, "not
    recorded" is a group of its own; where few do, they are left out.

    Raises:
        DataError: one value only, too many values, mostly empty, no cut that makes groups, or no
            group of `SMALL` records.
    """
    found = found_column(name, cells, told=False)
    if isinstance(found, LeftOut):
        raise DataError(f"sensitive column {name}: {found.why}. Nothing was written")
    counted = dict(distinct(cells))
    if len(counted) < 2:
        raise DataError(
            f"sensitive column {name} has only one value, so there are no groups to compare. "
            "Nothing was written"
        )
    if found.empty > MAX_EMPTY_GROUPS * len(cells):
        raise DataError(
            f"sensitive column {name}: empty in {found.empty / len(cells):.0%} of the records, so "
            "groups by it cannot be judged. Nothing was written"
        )
    if found.terms.kind == "number" and len(counted) > _EXACT_NUMBERS:
        return _banded(found, cells)
    if len(counted) > MOST_VALUES:
        raise DataError(
            f"sensitive column {name} has {len(counted)} values; groups are at most "
            f"{MOST_VALUES}, and small ones cannot be judged. Put values together in the file "
            "first. Nothing was written"
        )
    if any(map(texts.fault, counted)):
        raise DataError(
            f"sensitive column {name}: a value has a character that no charter may hold. Nothing "
            "was written"
        )
    return _valued(found, cells, counted)


def _valued(found: FoundColumn, cells: Sequence[str], counted: dict[str, int]) -> FoundFeature:
    column = found.terms
    if column.kind == "number":
        # As categories: each spelling is a value, and none is a quantity.
        column = replace(
            column, kind="category", values=tuple(counted), minimum=-1e9, maximum=1e9,
            not_recorded=(),
        )  # fmt: skip
        if len({exact_number(value) or value for value in counted}) < len(counted):
            raise DataError(
                f"sensitive column {column.name}: a number is spelled in two ways, such as 1 and "
                "1.0. Spell it in one way. Nothing was written"
            )
    sizes = dict(counted)
    if found.empty >= SMALL and NOT_RECORDED not in sizes:
        column = replace(column, on_empty="say")
        sizes[NOT_RECORDED] = found.empty
    group_of = _groups_of(sizes, of_sex=bool(_SEX.fullmatch(column.name)))
    terms = SensitiveColumn(
        name=_feature_name(column.name),
        column=column.name,
        groups=tuple(dict.fromkeys(group_of.values())),
        merge=tuple(
            f"{escaped(value)}={escaped(group)}"
            for value, group in group_of.items()
            if value != group
        ),
    )
    return _counted(replace(found, terms=column), terms, cells)


def _groups_of(sizes: Mapping[str, int], *, of_sex: bool) -> dict[str, str]:
    """Return each value's group: its most used spelling, or "other" with other small ones."""
    group_of = spellings(sizes)
    for alike in _ALIKE if of_sex else ():
        same = [value for value in sizes if value.casefold() in alike]
        used = max(same, key=lambda value: (sizes[value], value), default="")
        group_of |= dict.fromkeys(same, used)
    together: Counter[str] = Counter()
    for value, group in group_of.items():
        together[group] += sizes[value]
    small = [group for group, size in together.items() if size < SMALL]
    if 1 < len(small) < len(together):
        target = next((group for group in together if group.casefold() == "other"), "other")
        group_of = {value: target if group in small else group for value, group in group_of.items()}
    return group_of


def _banded(found: FoundColumn, cells: Sequence[str]) -> FoundFeature:
    column = found.terms
    numbers = np.array([float(cell) for cell in cells if cell and cell not in column.not_recorded])
    # Without the few at either end, such as a mistyped age of 200.
    low, high = np.quantile(numbers, [0.02, 0.98])
    span = float(high - low) or float(numbers.max() - numbers.min())
    step = 10.0 ** math.floor(math.log10(span)) / 2
    cuts = (float(round(cut / step) * step) for cut in np.quantile(numbers, [1 / 3, 2 / 3]))
    edges = sorted({cut for cut in cuts if numbers.min() < cut <= numbers.max()})
    if not edges:
        raise DataError(
            f"sensitive column {column.name}: most records have one number, so no cut makes "
            "groups. Put the groups into a separate column. Nothing was written"
        )
    shown = [f"{edge:g}" for edge in edges]
    between = [f"{low} to under {high}" for low, high in pairwise(shown)]
    # People without a number are a separate group, where a cell says so or they are many.
    apart = bool(column.not_recorded) or found.empty >= SMALL
    if apart:
        found = replace(found, terms=replace(column, on_empty="say" if found.empty else "drop-row"))
    terms = SensitiveColumn(
        name=f"{_feature_name(column.name)[:27]}_band",
        column=column.name,
        groups=(f"under {shown[0]}", *between, f"{shown[-1]} and over", *[NOT_RECORDED] * apart),
        edges=tuple(edges),
    )
    return _counted(found, terms, cells)


def _counted(found: FoundColumn, terms: SensitiveColumn, cells: Sequence[str]) -> FoundFeature:
    column: Column = found.terms
    sizes: Counter[int] = Counter()
    for cell in cells:
        if cell or column.on_empty == "say":
            sizes[group_index(parse_cell(cell, column), terms)] += 1
    if max(sizes.values(), default=0) < SMALL:
        raise DataError(
            f"sensitive column {column.name}: no group has {SMALL} records, so nothing could be "
            "said of any. Put groups together, or take more records. Nothing was written"
        )
    return FoundFeature(
        column=found,
        terms=terms,
        sizes={group: sizes[place] for place, group in enumerate(terms.groups)},
    )


def _feature_name(column: str) -> str:
    plain = _NO_NAME.sub("_", column.lower()).strip("_")
    return (plain if plain[:1].isalpha() else f"feature_{plain}".rstrip("_"))[:32]
