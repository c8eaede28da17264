"""Columns that a charter asks to have read beside its schema: none of them enters a text.

A kind of sum may count what the model never reads, such as each annotator's label of a record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fedethics.charter.spelling import exact_number
from fedethics.data.records import CellProblem, unlike
from fedethics.errors import DataError

NOTHING = -1


@dataclass(frozen=True)
class BesideColumn:
    """A column of values that a charter lists.

    Attributes:
        name: header in the file.
        values: what its cells may be; numbers are compared exactly, so that "1.0" is "1". An empty
            cell is nothing.
        asked_by: the charter's term that names the column.
    """

    name: str
    values: tuple[str, ...]
    asked_by: str

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {exact_number(one) or one: place for place, one in enumerate(self.values)}

    def place(self, raw: str) -> int:
        """Return the place of a cell's value, or `NOTHING` for an empty cell.

        Raises:
            CellProblem: it is none of the values; the error does not name the cell.
        """
        if not raw:
            return NOTHING
        found = self._places.get(exact_number(raw) or raw)
        if found is None:
            raise unlike(f"not one of {', '.join(self.values)}", raw, self.values)
        return found


class BesideReading:
    """The columns read so far from one file."""

    def __init__(self, columns: Sequence[BesideColumn]) -> None:
        self._columns = columns
        self._found: dict[str, list[int]] = {column.name: [] for column in columns}
        self._seen: set[str] = set()

    def add(self, line: int, row: Mapping[str, str], *, kept: bool) -> Iterator[str]:
        """Read a row's cells, and keep them if its record is kept; yield what is wrong."""
        for column in self._columns:
            if column.name in row:
                self._seen.add(column.name)
            try:
                place = column.place(row.get(column.name, ""))
            except CellProblem as problem:
                yield f"line {line}, column {column.name}: {problem}"
                continue
            if kept:
                self._found[column.name].append(place)

    def columns(self) -> dict[str, NDArray[np.int16]]:
        """Return each column's places, shape (records,).

        Raises:
            DataError: a column is not in the file.
        """
        absent = [column for column in self._columns if column.name not in self._seen]
        if absent:
            names = ", ".join(column.name for column in absent)
            raise DataError(
                f"the data file has no column {names}, which the charter's {absent[0].asked_by} "
                "names; nothing was used. Add it, with empty cells where there is no value"
            )
        return {name: np.array(found, dtype=np.int16) for name, found in self._found.items()}
