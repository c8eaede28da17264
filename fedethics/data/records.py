"""The records of one site, and the fingerprint that names them in the ledger."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedethics import canonical
from fedethics.charter.spelling import exact_number
from fedethics.data.cells import Value

# One target a record, by its number: what `LearningTask.target` makes of the label's cell.
Targets: TypeAlias = NDArray[np.integer[Any]]


# Sensitive: every field but `dropped` holds or determines what single records say.
@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Records:
    """Records in file order; row i of every field is the same record.

    Attributes:
        texts: each record as the text that the model reads.
        labels: the number of each record's target, shape (n,), as the charter's task counts them.
        groups: int64, shape (n, sensitive features); index into each feature's groups.
        values: parsed columns by name, for local baselines that use no text.
        row_hashes: SHA-256 of each record's canonical row bytes.
        persons: SHA-256 of each record's person; all empty where the unit is the record.
        fingerprint: SHA-256 over the sorted row hashes: the name of these records in the ledger,
            whatever the file is called and however its rows are ordered.
        source_fingerprint: the same over every row of the file, those left out included: what a
            charter reads, drops or splits does not change it.
        dropped: how many rows were left out, by reason.
    """

    texts: tuple[str, ...]
    labels: Targets
    groups: NDArray[np.int64]
    values: tuple[Mapping[str, Value], ...]
    row_hashes: tuple[bytes, ...]
    persons: tuple[bytes, ...]
    fingerprint: str
    source_fingerprint: str
    dropped: Mapping[str, int]

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
