"""The ledger's words: data set, cap, reservation, head, and one sealed entry."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

from fedethics import canonical
from fedethics.canonical import Json
from fedethics.privacy.events import Event

ENTRY_PURPOSE = "ledger-entry"
RECEIPT_PURPOSE = "receipt"
CLOCK_PURPOSE = "ledger-clock"
BEGINNING = "0" * 64


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSet:
    """An account: a set of records named by the fingerprint of its content.

    Attributes:
        fingerprint: hex digest of the content, so that a renamed file keeps its account.
        label: what people call it, such as "train" or "held-out".
        source: fingerprint of the whole file that it was cut from, so that another cut of the same
            records is seen.
        follows: files (by `file`) that hold records of the same people: what was spent on them
            counts here too, permanently (docs/adr/0011-linked-accounts.md).
        unit: "record" or "person", whose one more or less an epsilon here is about; empty in
            entries of versions that did not note it.
    """

    fingerprint: str
    label: str
    source: str = ""
    follows: tuple[str, ...] = ()
    unit: str = ""

    @property
    def file(self) -> str:
        """What names the file that this was cut from."""
        return self.source or self.fingerprint


@dataclass(frozen=True, kw_only=True, slots=True)
class Cap:
    """What one data set may spend; from the site's policy and from nowhere else.

    Attributes:
        epsilon: over its whole life; infinite only where the policy allows work without DP.
        delta: the delta of every epsilon here.
        per_run: within one run, or None for no further limit.
        per_year: within any 365 days up to now, or None for no further limit.
    """

    epsilon: float
    delta: float
    per_run: float | None = None
    per_year: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PinnedOfficers:
    """Whose signatures the site's policy needs: sorted keys, and how many of them."""

    public_keys: tuple[str, ...]
    required_signatures: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerHead:
    """The newest entry: its index, its SHA-256 and the key that signs this ledger."""

    index: int
    sha256: str
    public_key: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Reservation:
    """Budget set aside, durably, before the mechanism may run."""

    index: int
    sha256: str
    data_set: DataSet
    run: str
    round_number: int
    kind: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Charge:
    """One reservation as the books hold it now; a released one costs nothing.

    Attributes:
        cap_epsilon, cap_delta: the cap for life that it was granted under.
    """

    index: int
    time: datetime
    data_set: DataSet
    run: str
    round_number: int
    kind: str
    charter_hash: str
    events: tuple[Event, ...]
    cap_epsilon: float
    cap_delta: float
    state: Literal["reserved", "confirmed", "released"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sealed:
    """One entry as it is stored: canonical bytes and a signature over them."""

    raw: bytes
    signature: bytes

    @property
    def sha256(self) -> str:
        """The hash by which the next entry names this one."""
        return canonical.sha256_hex(self.raw)

    @property
    def body(self) -> dict[str, Any]:
        """The entry's table.

        Raises:
            ValueError: the bytes are not a canonical table.
        """
        table = canonical.parse(self.raw)
        if not isinstance(table, dict):
            raise ValueError("an entry must be a table")
        return cast(dict[str, Any], table)


def epsilon_document(value: float) -> Json:
    """Spell an epsilon in canonical JSON, which has no infinity."""
    return "infinite" if math.isinf(value) else value


def read_epsilon(value: object) -> float:
    """Read back what `epsilon_document` wrote.

    Raises:
        ValueError: neither a number nor "infinite".
    """
    if value == "infinite":
        return math.inf
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is not an epsilon")
    return float(value)
