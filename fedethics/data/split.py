"""Split records into training and held-out, each unit's side decided by that unit alone.

Guarantee: adding or removing a unit, with all of its rows, moves no other unit to the other side
and changes no other unit's rows, so that "one unit more or less" in training and in evaluation are
statements about disjoint sets.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from fedethics import canonical
from fedethics.charter.data_terms import DataTerms
from fedethics.data.records import Records
from fedethics.errors import DataError


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
                f"no record falls on the {name} side of the split ({len(kept)} records, "
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
