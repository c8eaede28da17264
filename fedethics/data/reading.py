"""Read a site's CSV file by the charter's schema, or say everything that is wrong with it.

Guarantee: every record that is returned passed every check of the schema; a message names the
line, the column and what is allowed, and never a value of any record.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from fedethics.charter.data_terms import DataTerms
from fedethics.charter.spelling import invisible
from fedethics.data.cells import CellProblem, Value, parse_cell, unlike
from fedethics.data.records import Records, fingerprint, group_index, person_hash, row_hash
from fedethics.data.table import encoding_hint, table_rows
from fedethics.data.telling import tell, told_columns
from fedethics.errors import DataError
from fedethics.learning_tasks import LearningTask, find_task
from fedethics.ownership import cannot_read

MAX_PROBLEMS = 10
# A group column that is emptier than this says nothing of the groups, whatever is left over.
MAX_EMPTY_GROUPS = 0.5


def read_records(path: Path, terms: DataTerms, *, task: str = "classification") -> Records:
    """Read, check and word the records of a CSV file (UTF-8, one header line).

    Args:
        path: the file.
        terms: the charter's schema.
        task: the charter's `model.task`, which says what target a cell of the label means.

    Raises:
        DataError: unreadable, empty, a column missing, an unknown label, a value out of range or
            undeclared, a record in no declared group, a group column that is mostly empty; lists
            up to ten problems at once.
    """
    reading = _Reading(terms, find_task(task))
    for line, row in raw_rows(path, terms):
        reading.add(line, row)
        if len(reading.problems) >= MAX_PROBLEMS:
            break
    return reading.finish(path)


def raw_rows(path: Path, terms: DataTerms) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line number and cells of each row of a file with the charter's columns.

    Cells are stripped and in Unicode's composed form. Rows and columns with nothing in them, such
    as spreadsheet programs leave behind, are passed over; a nameless column with values is not.

    Sensitive: the cells are records.

    Raises:
        DataError: unreadable, not UTF-8, not CSV, or a column of the charter is missing.
    """
    if path.exists() and not path.is_file():
        raise DataError(f"data file {path} cannot be read: it is no ordinary file")
    try:
        yield from table_rows(path, terms)
    except OSError as error:
        raise DataError(f"data file {cannot_read(path, error)}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"data file {path} is not UTF-8 text; {encoding_hint(path)}") from error
    except (csv.Error, CellProblem) as error:
        raise DataError(f"data file {path} is not as the charter's schema says: {error}") from error


class _Reading:
    """Records and problems gathered so far from one file."""

    def __init__(self, terms: DataTerms, task: LearningTask) -> None:
        self.terms, self.task = terms, task
        self.problems: list[str] = []
        self.dropped: Counter[str] = Counter()
        self.empty: Counter[str] = Counter()
        self.labels: list[int] = []
        self.groups: list[list[int]] = []
        self.values: list[dict[str, Value]] = []
        self.hashes: list[bytes] = []
        self.all_hashes: list[bytes] = []
        self.persons: list[bytes] = []

    def add(self, line: int, row: Mapping[str, str]) -> None:
        digest = row_hash(row)
        self.all_hashes.append(digest)
        before = len(self.problems)
        values: dict[str, Value] = {}
        empty: list[str] = []
        for column in self.terms.columns:
            raw = row[column.name]
            if not raw and column.on_empty == "drop-row":
                empty.append(column.name)
                self.empty[column.name] += 1
                continue
            try:
                values[column.name] = parse_cell(raw, column)
            except CellProblem as problem:
                self._problem(line, column.name, problem)
        label = self._label(line, row[self.terms.label.column])
        person = self._person(line, row)
        if empty:
            self.dropped[f"{empty[0]} is empty"] += 1
        elif len(self.problems) == before:
            self._keep(line, digest, person, values, label)

    def finish(self, path: Path) -> Records:
        self.problems += self._empty_groups()
        if self.problems:
            more = "" if len(self.problems) < MAX_PROBLEMS else "\n  - and perhaps more"
            listed = "".join(f"\n  - {problem}" for problem in self.problems)
            raise DataError(
                f"data file {path} is not as the charter's schema says; nothing was used:"
                f"{listed}{more}"
            )
        if not self.values:
            reasons = "; ".join(f"{count} rows: {why}" for why, count in self.dropped.items())
            raise DataError(f"data file {path} holds no usable record ({reasons or 'no rows'})")
        told = told_columns(self.terms)
        return Records(
            texts=tuple(tell(values, told) for values in self.values),
            labels=np.array(self.labels, dtype=np.int16),
            groups=np.array(self.groups, dtype=np.int64),
            values=tuple(self.values),
            row_hashes=tuple(self.hashes),
            persons=tuple(self.persons),
            fingerprint=fingerprint(self.hashes),
            source_fingerprint=fingerprint(self.all_hashes),
            dropped=dict(self.dropped),
        )

    def _empty_groups(self) -> list[str]:
        rows = max(len(self.all_hashes), 1)
        return [
            f"column {column}: empty in {self.empty[column] / rows:.0%} of the rows, so groups "
            "by it cannot be judged and most records would be left out; take the feature out of "
            'the charter, or let the column say "not recorded" and declare that group'
            for column in sorted({feature.column for feature in self.terms.sensitive})
            if self.empty[column] > MAX_EMPTY_GROUPS * rows
        ]

    def _label(self, line: int, raw: str) -> int:
        label = self.terms.label
        target = self.task.target(raw, label)
        if target is not None:
            return target
        allowed = self.task.cells(label)
        said = f"unknown label; allowed: {', '.join(allowed)}"
        self._problem(line, label.column, unlike(said, raw, allowed))
        return 0

    def _person(self, line: int, row: Mapping[str, str]) -> bytes:
        """Return a hash of whose row it is; empty where the unit is the record."""
        column = self.terms.person
        if column and not row[column]:
            # A row of nobody could be anybody's second contribution.
            self._problem(line, column, CellProblem("empty; every row must say whose it is"))
        elif column and (hidden := invisible(row[column])):
            # Two ids that look alike would be two persons.
            self._problem(line, column, CellProblem(f"holds {hidden}, which no screen shows"))
        return person_hash(row[column]) if column else b""

    def _keep(
        self, line: int, digest: bytes, person: bytes, values: dict[str, Value], label: int
    ) -> None:
        groups: list[int] = []
        for feature in self.terms.sensitive:
            try:
                groups.append(group_index(values[feature.column], feature))
            except CellProblem as problem:
                self._problem(line, feature.column, problem)
        if len(groups) == len(self.terms.sensitive):
            self.labels.append(label)
            self.groups.append(groups)
            self.values.append(values)
            self.hashes.append(digest)
            self.persons.append(person)

    def _problem(self, line: int, column: str, problem: CellProblem) -> None:
        self.problems.append(f"line {line}, column {column}: {problem}")
