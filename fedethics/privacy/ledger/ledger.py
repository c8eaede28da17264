"""A site's ledger: budget is reserved durably before any mechanism runs, and never forgotten.

A crash costs budget and never hides spending: a reservation whose process died stays charged.
How entries reach the disk, and survive a kill at any point, is described in `ledger_files`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fedethics import terms
from fedethics.canonical import Json
from fedethics.charter.model import Charter
from fedethics.errors import BudgetExceeded, LedgerError
from fedethics.identity import Identity, key_fault
from fedethics.privacy.events import Event
from fedethics.privacy.ledger.book import Book, clock_statement
from fedethics.privacy.ledger.entries import (
    CLOCK_PURPOSE,
    Cap,
    Charge,
    DataSet,
    LedgerHead,
    PinnedOfficers,
    Reservation,
    epsilon_document,
)
from fedethics.privacy.ledger.ledger_files import LedgerFiles
from fedethics.privacy.ledger.receipt import SumSeen, charges_of, make_receipt, sign_receipt

# A clock that time synchronisation nudges back is not one that was turned back.
CLOCK_TOLERANCE = timedelta(minutes=5)


def utc_now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


class Ledger:
    """Append-only, hash-chained, signed account of everything that left a site's data sets."""

    def __init__(
        self, path: Path, *, identity: Identity, clock: Callable[[], datetime], create: bool
    ) -> None:
        """Use `Ledger.open`."""
        self._clock = clock
        self._identity = identity
        self._files = LedgerFiles(path, identity=identity, clock=clock, create=create)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        identity: Identity,
        clock: Callable[[], datetime] = utc_now,
        create: bool = False,
    ) -> Ledger:
        """Open the ledger at `path` and verify all of it.

        Args:
            path: the SQLite file; its head is next to it as `<path>.head`.
            identity: the site's signing key, which must be the one that opened the ledger.
            clock: returns the time in UTC.
            create: start a new ledger when neither file is there.

        Raises:
            LedgerError: missing, unreadable or unwritable.
            LedgerTampered: chain, signature or head does not verify; the entry is named.
        """
        ledger = cls(path, identity=identity, clock=clock, create=create)
        ledger._files.refresh()
        return ledger

    @property
    def head(self) -> LedgerHead:
        """The newest entry's name, for others to countersign."""
        return self._files.refresh().head

    @property
    def officers(self) -> PinnedOfficers | None:
        """The officers that the site's policy is bound to, or None before any were pinned."""
        return self._files.refresh().officers

    def pin_officers(self, officers: PinnedOfficers) -> None:
        """Record durably whose signatures the policy needs from now on.

        Raises:
            LedgerError: a key under which signatures prove nothing; nothing was written.
        """
        for key in officers.public_keys:
            if fault := key_fault(key):
                raise LedgerError(f"an officer's public key {fault}; nothing was written")
        with self._files.exclusive() as append:
            body: dict[str, Json] = {
                "action": "officers",
                "public-keys": list(officers.public_keys),
                "required-signatures": officers.required_signatures,
            }
            append(body, self._time())

    def state_clock(self, officer: Identity) -> datetime:
        """Record durably that the clock is right, on an officer's word; return what it says.

        After a pause of more than `book.LONGEST_PAUSE` the charges before it keep counting towards
        the cap on a year until somebody answers for the clock.

        Raises:
            LedgerError: the clock is behind the newest entry, or the key is no pinned officer's.
        """
        with self._files.exclusive() as append:
            book = self._files.book
            pinned = book.officers
            if (
                pinned
                and pinned.required_signatures
                and (officer.public_key not in pinned.public_keys)
            ):
                raise LedgerError(
                    f"the key {officer.public_key[:16]} is none of the officers that this ledger "
                    "has pinned; nothing was written. Ask one of them to state the clock"
                )
            now = self._honest_time()
            body: dict[str, Json] = {
                "action": "clock",
                "officer": officer.public_key,
                "previous": book.tail_hash,
                "stated": now.astimezone(UTC).isoformat(),
            }
            signature = officer.sign(clock_statement(body), purpose=CLOCK_PURPOSE)
            append({**body, "signature": signature.hex()}, now)
            return now

    def reserve(
        self,
        *,
        data_set: DataSet,
        run: str,
        round_number: int,
        kind: str,
        events: Sequence[Event],
        charter_hash: str,
        cap: Cap,
        whole_run: Sequence[Event] = (),
    ) -> Reservation:
        """Charge `events` to a data set, durably, before the mechanism may run.

        Guarantee: when this returns, the charge is on disk and everything ever charged to the data
        set composes to at most the cap; when it raises BudgetExceeded, nothing was written. Two
        processes cannot both spend the last of a budget. The same round again is a new charge.
        With `whole_run`, all that the run will ever ask of the data set, a run does not begin where
        what others were charged so far leaves no room for all of it.

        Raises:
            BudgetExceeded: over the life of the data set, within the run, or within the year.
            LedgerError: unwritable, or the clock has gone backwards.
            LedgerTampered: the ledger does not verify.
        """
        with self._files.exclusive() as append:
            book = self._files.book
            now = self._honest_time()
            overruns = book.overruns(data_set, run=run, events=events, cap=cap, now=now)
            if whole_run and not overruns:
                overruns = book.overruns(
                    data_set, run=run, events=whole_run, cap=cap, now=now, whole_run=True
                )
            if overruns:
                raise BudgetExceeded(
                    f"{kind} of round {round_number} on {data_set.label!r}: "
                    + "; ".join(overruns)
                    + ". Nothing was computed. Ask for less in the charter, or ask the privacy "
                    "officer to raise the cap in policy.toml"
                )
            body: dict[str, Json] = {
                "action": "reserve",
                "data-set": terms.document(data_set),
                "run": run,
                "round": round_number,
                "kind": kind,
                "charter-hash": charter_hash,
                "events": [event.document() for event in events],
                "cap": _cap_document(cap),
            }
            append(body, now)
            return _reservation(book.charges[book.length - 1], book)

    def confirm(self, reservation: Reservation, *, note: str) -> None:
        """Record that the release was made. `note` must hold nothing of any record.

        Raises:
            LedgerError: the reservation is unknown, confirmed or released already.
        """
        self._settle(reservation, "confirm", {"note": note})

    def release(self, reservation: Reservation, *, why: str) -> None:
        """Give a reservation back. Only for work of which nothing left the site.

        Raises:
            LedgerError: the reservation is unknown, confirmed or released already.
        """
        self._settle(reservation, "release", {"why": why})

    def spent(self, data_set: DataSet, *, delta: float, run: str | None = None) -> float:
        """Return the composed epsilon ever charged to a data set, or within one run."""
        return self._files.refresh().spent(data_set, delta=delta, run=run)

    def overruns(
        self, data_set: DataSet, *, run: str, events: Sequence[Event], cap: Cap
    ) -> tuple[str, ...]:
        """Say which limits a whole run would pass, counting what it was charged already once."""
        return self._files.refresh().overruns(
            data_set, run=run, events=events, cap=cap, now=self._clock(), whole_run=True
        )

    def holds(self, *, index: int, sha256: str) -> bool:
        """Say whether this ledger's entry `index` has that hash."""
        entries = self._files.refresh().entries
        return 0 <= index < len(entries) and entries[index].sha256 == sha256

    def data_sets(self) -> tuple[DataSet, ...]:
        """Return every account, in the order of its first charge."""
        return self._files.refresh().data_sets()

    def files_of(self, run: str) -> frozenset[str]:
        """Return the files whose records a run was charged for; none before its first charge."""
        return self._files.refresh().files_of(run)

    def runs_under(self, charter_hash: str) -> tuple[str, ...]:
        """Return the runs that were charged under a charter, oldest first."""
        charges = self._files.refresh().charges.values()
        return tuple(dict.fromkeys(one.run for one in charges if one.charter_hash == charter_hash))

    def charges(self) -> tuple[Charge, ...]:
        """Return every charge that counts, oldest first; a released one does not."""
        return tuple(self._files.refresh().counted())

    def entries(self) -> tuple[dict[str, Any], ...]:
        """Return every entry's table, in order."""
        return tuple(sealed.body for sealed in self._files.refresh().entries)

    def receipt(
        self,
        *,
        site: str,
        run: str,
        charter: Charter,
        self_test_passed: bool = False,
        fixed_noise: bool = False,
        sums: tuple[SumSeen, ...] = (),
    ) -> bytes:
        """Return a signed receipt for a run: canonical bytes, see `receipt.Receipt`.

        That it was given is an entry of its own, which every later receipt names: a ledger that was
        put back to before it cannot name it, however many entries it has by then.

        Raises:
            LedgerError: the run was never charged here, or under another charter.
        """
        charges_of(self._files.refresh(), run=run, charter=charter)
        with self._files.exclusive() as append:
            book = self._files.book
            if run not in book.runs_given_last():
                append({"action": "receipt", "run": run}, self._time())
            receipt = make_receipt(
                book,
                site=site,
                run=run,
                charter=charter,
                now=self._clock(),
                self_test_passed=self_test_passed,
                fixed_noise=fixed_noise,
                sums=sums,
            )
        return sign_receipt(receipt, self._identity)

    def _settle(self, reservation: Reservation, action: str, words: dict[str, Json]) -> None:
        with self._files.exclusive() as append:
            book = self._files.book
            charge = book.charges.get(reservation.index)
            entry = book.entries[reservation.index] if charge else None
            if charge is None or entry is None or entry.sha256 != reservation.sha256:
                raise LedgerError(f"cannot {action}: entry {reservation.index} is not that charge")
            if charge.state != "reserved":
                raise LedgerError(
                    f"cannot {action} reservation {reservation.index}: it is {charge.state}"
                )
            body: dict[str, Json] = {"action": action, "reservation": reservation.index, **words}
            append(body, self._time())

    def _honest_time(self) -> datetime:
        now, last = self._clock(), self._files.book.last_time
        if last is not None and now < last - CLOCK_TOLERANCE:
            raise LedgerError(
                f"the clock says {now.isoformat()}, before the newest ledger entry "
                f"({last.isoformat()}); yearly caps depend on it, so nothing was computed. Set the "
                "clock"
            )
        return self._time()

    def _time(self) -> datetime:
        now, last = self._clock(), self._files.book.last_time
        return now if last is None or now > last else last


def _reservation(charge: Charge, book: Book) -> Reservation:
    return Reservation(
        index=charge.index,
        sha256=book.entries[charge.index].sha256,
        data_set=charge.data_set,
        run=charge.run,
        round_number=charge.round_number,
        kind=charge.kind,
    )


def _cap_document(cap: Cap) -> Json:
    written: dict[str, Json] = {"epsilon": epsilon_document(cap.epsilon), "delta": cap.delta}
    if cap.per_run is not None:
        written["per-run"] = epsilon_document(cap.per_run)
    if cap.per_year is not None:
        written["per-year"] = epsilon_document(cap.per_year)
    return written
