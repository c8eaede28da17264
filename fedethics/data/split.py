"""Split records into training and held-out, each record's side decided by that record alone.

Guarantee: adding or removing a record moves no other record to the other side, so that "one
record more or less" in training and in evaluation are statements about disjoint sets.
"""

from __future__ import annotations

import hashlib
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
    sides: tuple[list[int], list[int]] = ([], [])
    for row, digest in enumerate(records.row_hashes):
        sides[is_held_out(digest, terms)].append(row)
    for rows, name in zip(sides, ("training", "held-out"), strict=True):
        if not rows:
            raise DataError(
                f"no record falls on the {name} side of the split ({len(records)} records, "
                f"holdout-fraction {terms.holdout_fraction:g}); this site has too few records"
            )
    train, held_out = sides
    return Split(train=records.take(train), held_out=records.take(held_out))


def is_held_out(row_hash: bytes, terms: DataTerms) -> bool:
    """Say on which side a record is: a keyed hash, uniform on [0, 1), below the fraction."""
    keyed = hashlib.sha256(canonical.encode([terms.split_salt, row_hash.hex()])).digest()
    return int.from_bytes(keyed[:8], "big") < terms.holdout_fraction * 2.0**64
