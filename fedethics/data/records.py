"""The records of one site, and the fingerprint that names them in the ledger.

Sensitive features of records: which declared group each record is in, counted for local use.

Split records into training and held-out, each unit's side decided by that unit alone.

Guarantee: adding or removing a unit, with all of its rows, moves no other unit to the other side
and changes no other unit's rows. So "one unit more or less" in training and in evaluation are
statements about disjoint sets.

One cell of a site's table: parsed and checked by its column, and worded for the model.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedethics import canonical
from fedethics.charter.data_terms import NOT_RECORDED, Column, DataTerms, SensitiveColumn
from fedethics.charter.spelling import comma_in_number, exact_number, invisible, why_unlike
from fedethics.data.content import Content
from fedethics.errors import DataError

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
    return column.phrase.replace("{value}", shown(value, column) or NOT_RECORDED)


def shown(value: Value, column: Column) -> str:
    """Return a value as a text tells it; empty where nothing was recorded."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value if column.kind == "text" else column.choices[value]
    return f"{value:g}"


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
            "; it holds a comma, as a decimal comma or to mark thousands. Set decimal-mark or "
            "thousands-mark in [data] of site.toml, or export numbers as 1234.5"
        )
    hidden = invisible(raw)
    return f"; it holds {hidden}, which is invisible; remove it" if hidden else ""


# One target a record, by its number: what `LearningTask.target` makes of the label's cell.
Targets: TypeAlias = NDArray[np.integer[Any]]


# Sensitive: every field but `dropped` holds or determines what single records say.
@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Records:
    """Records in file order; row i of every field is the same record.

    Attributes:
        texts: what each record says to the model.
        labels: the number of each record's target, shape (n,), as the charter's task counts them;
            all 0 where the charter has no label.
        groups: int64, shape (n, sensitive features); index into each feature's groups.
        values: parsed columns by name, for local baselines that use no text.
        row_hashes: SHA-256 of each record's canonical row bytes.
        persons: SHA-256 of each record's person; all empty where the unit is the record.
        fingerprint: SHA-256 over the sorted row hashes: the name of these records in the ledger,
            whatever the file is called and however its rows are ordered.
        source_fingerprint: the same over every row of the file, those left out included: what a
            charter reads, drops or splits does not change it.
        dropped: how many rows were left out, by reason.
        personal: records of the file in whose texts personal data was found, where a policy looks.
        beside: columns that are read beside the schema (`data.beside`), by name: the place of each
            record's value among those of the charter, shape (n,), -1 for nothing.
    """

    texts: tuple[Content, ...]
    labels: Targets
    groups: NDArray[np.int64]
    values: tuple[Mapping[str, Value], ...]
    row_hashes: tuple[bytes, ...]
    persons: tuple[bytes, ...]
    fingerprint: str
    source_fingerprint: str
    dropped: Mapping[str, int]
    personal: int = 0
    beside: Mapping[str, NDArray[np.int16]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.texts)

    @property
    def units(self) -> NDArray[np.int64]:
        """Which unit of privacy each record belongs to, shape (n,), 0 to `unit_count` - 1."""
        if not any(self.persons):
            return np.arange(len(self), dtype=np.int64)
        place = {person: index for index, person in enumerate(sorted(set(self.persons)))}
        return np.array([place[person] for person in self.persons], dtype=np.int64)

    @property
    def unit(self) -> Literal["record", "person"]:
        """Whose one more or less the charter's epsilons are about."""
        return "person" if any(self.persons) else "record"

    @property
    def unit_count(self) -> int:
        """Number of units of privacy: records, or persons."""
        return len(set(self.persons)) if any(self.persons) else len(self)

    def take(self, rows: Sequence[int]) -> Records:
        """Return the records at `rows`, with a fingerprint of their own."""
        indices = np.asarray(rows, dtype=np.intp)
        hashes = tuple(self.row_hashes[row] for row in rows)
        return Records(
            texts=tuple(self.texts[row] for row in rows),
            labels=self.labels[indices],
            groups=self.groups[indices],
            values=tuple(self.values[row] for row in rows),
            row_hashes=hashes,
            persons=tuple(self.persons[row] for row in rows),
            fingerprint=fingerprint(hashes),
            source_fingerprint=self.source_fingerprint,
            dropped=self.dropped,
            personal=self.personal,
            beside={name: places[indices] for name, places in self.beside.items()},
        )


def row_hash(row: Mapping[str, str]) -> bytes:
    """Return the SHA-256 of a row's canonical bytes.

    The row is every column of the file, not only those a charter names, so that no charter can
    give the same patients another name in the ledger. Numbers are spelled one way ("63", "63.0"
    and "6.3e1" are the same), so that saving the file from another program changes nothing; they
    are compared exactly, however long they are.
    """
    spelled = {name: _spelled(cell) for name, cell in row.items()}
    return hashlib.sha256(canonical.encode(spelled)).digest()


def person_hash(cell: str) -> bytes:
    """Return the SHA-256 of a person's id.

    Ids are text; those that are numbers are compared as exact decimals ("7", "007" and "7.0" are
    one person), since one person taken for two would have half the protection.
    """
    return hashlib.sha256(canonical.encode(["person", _spelled(cell)])).digest()


def fingerprint(row_hashes: Iterable[bytes]) -> str:
    """Return the SHA-256 over the sorted row hashes; duplicates count as often as they stand."""
    return canonical.sha256_hex(b"".join(sorted(row_hashes)))


def _spelled(cell: str) -> canonical.Json:
    """Return a number in its one spelling, exactly, and any other cell as it is."""
    exact = exact_number(cell)
    if exact is None:
        return cell
    number = float(cell) + 0.0  # -0 is 0
    # A float where it is exact to the digit; else it would be another number's float too.
    return number if math.isfinite(number) and exact_number(repr(number)) == exact else exact


def group_index(value: Value, feature: SensitiveColumn) -> int:
    """Return the index of the declared group that `value` is in.

    A value that was not recorded is in the group "not recorded", where the charter declares one,
    or in the group that the charter merges it into.

    Raises:
        CellProblem: the value is in no declared group.
    """
    if isinstance(value, float) and feature.edges:
        return bisect_right(feature.edges, value)
    if isinstance(value, float):
        index = feature.by_number.get(exact_number(repr(value)) or "")
    else:
        name = NOT_RECORDED if value is None else value
        name = feature.merged.get(name, name)
        index = feature.groups.index(name) if name in feature.groups else None
    if index is None:
        raise CellProblem(
            f"in no declared group of {feature.name} ({', '.join(feature.groups)}); records are "
            "never dropped because of their group"
        )
    return index


def group_counts(records: Records, terms: DataTerms) -> Mapping[str, Mapping[str, int]]:
    """Return records per group of each feature. Sensitive: for the site's own eyes only."""
    counts = {}
    for position, feature in enumerate(terms.sensitive):
        tally = np.bincount(records.groups[:, position], minlength=len(feature.groups))
        counts[feature.name] = dict(zip(feature.groups, tally.tolist(), strict=True))
    return counts


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """The two disjoint parts of one file's records."""

    train: Records
    held_out: Records


def split(records: Records, terms: DataTerms) -> Split:
    """Cut `records` by the charter's salt and held-out fraction.

    Raises:
        DataError: a part would be empty.
    """
    kept = _bounded(records, terms) if terms.person else records
    names = kept.persons if terms.person else kept.row_hashes
    sides: tuple[list[int], list[int]] = ([], [])
    for row, digest in enumerate(names):
        sides[is_held_out(digest, terms)].append(row)
    for rows, name in zip(sides, ("training", "held-out"), strict=True):
        if not rows:
            raise DataError(
                f"no record is on the {name} side of the split ({len(kept)} records, "
                f"holdout-fraction {terms.holdout_fraction:g}); this site has too few records"
            )
    train, held_out = sides
    return Split(train=kept.take(train), held_out=kept.take(held_out))


def is_held_out(digest: bytes, terms: DataTerms) -> bool:
    """Say on which side a unit is: a keyed hash, uniform on [0, 1), below the fraction.

    Args:
        digest: hash of the record's row, or of the person where the unit is the person.
        terms: the salt and the fraction.
    """
    return int.from_bytes(_keyed(digest, terms)[:8], "big") < terms.holdout_fraction * 2.0**64


def beyond(terms: DataTerms) -> str:
    """Return the reason under which a person's rows beyond the most are counted as left out."""
    return f"beyond {terms.max_rows_per_person} rows of a person"


def _bounded(records: Records, terms: DataTerms) -> Records:
    """Leave out each person's rows beyond the most that are used; which, their keyed hashes say."""
    rows_of: dict[bytes, list[int]] = {}
    for row, person in enumerate(records.persons):
        rows_of.setdefault(person, []).append(row)
    chosen = sorted(row for rows in rows_of.values() for row in _first(rows, records, terms))
    left_out = len(records) - len(chosen)
    dropped = {**records.dropped, **({beyond(terms): left_out} if left_out else {})}
    return dataclasses.replace(records.take(chosen), dropped=dropped)


def _first(rows: Sequence[int], records: Records, terms: DataTerms) -> list[int]:
    ordered = sorted(rows, key=lambda row: _keyed(records.row_hashes[row], terms))
    return ordered[: terms.max_rows_per_person]


def _keyed(digest: bytes, terms: DataTerms) -> bytes:
    return hashlib.sha256(canonical.encode([terms.split_salt, digest.hex()])).digest()
