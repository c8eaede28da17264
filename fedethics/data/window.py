"""The records of one window of time: which rows of a growing file, and what of them is missing.

Guarantee: whether a row is in a window follows from its own cell of the time column and from public
days alone, so that a record is in one window; which rows of a person with too many are used, from
keyed hashes of the rows. Messages name line and column, never a value.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from fedethics.charter.data_terms import DataTerms
from fedethics.data.file_terms import DataFile
from fedethics.data.reading import raw_rows, records_of, row_identity
from fedethics.data.records import Records, fingerprint, person_hash
from fedethics.errors import DataError

Row = tuple[int, Mapping[str, str]]


# Sensitive: it holds records.
@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Window:
    """One window of one site's file.

    Attributes:
        labelled, unlabelled: records with and without a label, of those that the charter reads.
        rows: rows of the window, those left out included.
        rows_without_label: of these, rows whose label had not come when the window was read.
        left_out: of these, rows that the charter leaves out for an empty cell.
        personal: records in whose texts personal data was found, where a policy looks.
        missing: empty cells among the rows, by column.
        units: records, or persons, among the rows.
        unit: "record" or "person".
        fingerprint: over all rows of the window: their account in the ledger.
    """

    labelled: Records
    unlabelled: Records
    rows: int
    rows_without_label: int
    left_out: int
    personal: int
    missing: Mapping[str, int]
    units: int
    unit: str
    fingerprint: str


def read_window(
    file: Path | DataFile,
    terms: DataTerms,
    *,
    task: str,
    time: str,
    begins: date,
    ends: date,
    missing: tuple[str, ...] = (),
) -> Window:
    """Read the rows of a file whose day is from `begins` to before `ends`.

    Args:
        file: it may hold older and newer rows too; they are not read further than their day.
        terms: the charter's schema; a label may be empty.
        task: the charter's `model.task`.
        time: the column with each row's day.
        begins: the window's first day.
        ends: the first day after it.
        missing: columns whose empty cells are counted.

    Raises:
        DataError: unreadable, the column or a day is missing, or a row of the window is not as the
            schema says; lists up to ten problems at once.
    """
    own = DataFile.of(file)
    rows = list(_within(own, terms, time, begins, ends))
    hashes = [row_identity(row, terms, own.read) for _, row in rows]
    kept = _bounded(rows, hashes, terms)
    label = terms.label.column if terms.label is not None else ""
    with_label = [(line, row) for line, row in kept if not label or row[label]]
    without = [(line, row) for line, row in kept if label and not row[label]]
    labelled = records_of(with_label, own, terms, task=task)
    unlabelled = records_of(without, own, replace(terms, label=None), task=task)
    empty = Counter(name for name in missing for _, row in kept if _is_empty(row, name, terms))
    people = {person_hash(row[terms.person]) for _, row in kept} if terms.person else set()
    return Window(
        labelled=labelled,
        unlabelled=unlabelled,
        rows=len(kept),
        rows_without_label=len(without),
        left_out=len(kept) - len(labelled) - len(unlabelled),
        personal=labelled.personal + unlabelled.personal,
        missing={name: empty[name] for name in missing},
        units=len(people) if terms.person else len(kept),
        unit="person" if terms.person else "record",
        fingerprint=fingerprint(hashes),
    )


def _within(file: DataFile, terms: DataTerms, time: str, begins: date, ends: date) -> Iterator[Row]:
    for line, row in raw_rows(file, terms):
        if time not in row:
            raise DataError(
                f"data file {file.path} has no column {time}, which the charter's monitoring.time "
                "names; nothing was used"
            )
        try:
            day = date.fromisoformat(row[time][:10])
        except ValueError as error:
            raise DataError(
                f"data file {file.path}, line {line}, column {time}: no day such as 2026-12-01; "
                "nothing was used, since it is not known in which window the row is"
            ) from error
        if begins <= day < ends:
            yield line, row


def _bounded(rows: list[Row], hashes: list[bytes], terms: DataTerms) -> list[Row]:
    """Return the rows without those beyond the most that a person may have in a window."""
    if not terms.person:
        return rows
    of: dict[str, list[tuple[bytes, int]]] = {}
    for place, ((_, row), digest) in enumerate(zip(rows, hashes, strict=True)):
        key = hashlib.sha256(terms.split_salt.encode() + digest).digest()
        of.setdefault(person_hash(row[terms.person]).hex(), []).append((key, place))
    most = terms.max_rows_per_person
    chosen = sorted(place for found in of.values() for _, place in sorted(found)[:most])
    return [rows[place] for place in chosen]


def _is_empty(row: Mapping[str, str], name: str, terms: DataTerms) -> bool:
    column = next(column for column in terms.columns if column.name == name)
    return not row[name] or row[name] in column.not_recorded
