"""The books: a ledger's entries read in order, each verified before it counts.

Guarantee: a book holds only entries that follow one another by hash and index, are signed by the
ledger's key, never go back in time, and never confirm what was released or release what was
confirmed. Anything else raises LedgerTampered naming the entry, and the book is unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from fedethics import canonical
from fedethics.errors import FedethicsError, LedgerTampered
from fedethics.identity import key_fault, verify
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.events import Event, from_document
from fedethics.privacy.ledger.entries import (
    BEGINNING,
    CLOCK_PURPOSE,
    ENTRY_PURPOSE,
    Cap,
    Charge,
    DataSet,
    LedgerHead,
    PinnedOfficers,
    Sealed,
    read_epsilon,
)
from fedethics.privacy.ledger.kinship import linked_files

YEAR = timedelta(days=365)
# More than this between two entries counts as this much for caps on a year, until an officer says
# that the clock is right: else a clock set forward once would give a year's budget anew.
LONGEST_PAUSE = timedelta(days=92)


_PAUSED = (
    "; charges of more than a year ago still count, because the ledger has no entry for more than "
    f"{LONGEST_PAUSE.days} days. If the clock is right, an officer confirms it with: fedethics "
    "ledger clock"
)


class Book:
    """All entries of one ledger so far, and what they add up to."""

    def __init__(self, public_key: str | None = None) -> None:
        """Start empty; without `public_key`, the first entry's own key is taken."""
        self._public_key = public_key
        self._sha256 = BEGINNING
        self.entries: list[Sealed] = []
        self.charges: dict[int, Charge] = {}
        self.last_time: datetime | None = None
        self._witnessed: list[timedelta] = []
        self.officers: PinnedOfficers | None = None
        self.receipts: list[str] = []

    @property
    def length(self) -> int:
        """Number of entries."""
        return len(self.entries)

    @property
    def head(self) -> LedgerHead:
        """The newest entry's name.

        Raises:
            LedgerTampered: there is none.
        """
        if not self.entries or self._public_key is None:
            raise LedgerTampered("ledger entry 0 is missing: the ledger holds no entries")
        return LedgerHead(index=self.length - 1, sha256=self._sha256, public_key=self._public_key)

    @property
    def tail_hash(self) -> str:
        """What the next entry must name as its predecessor."""
        return self._sha256

    def extend(self, sealed: Sealed) -> None:
        """Verify one entry and count it."""
        index = self.length
        try:
            body = sealed.body
            time = self._checked(body, sealed, index)
            self._apply(body, index, time)
        except (ValueError, KeyError, TypeError, FedethicsError) as error:
            raise LedgerTampered(
                f"ledger entry {index} does not verify: {error}. Nothing was computed; keep the "
                "file as evidence and compare it with a backup and with the receipts others hold"
            ) from error
        self.entries.append(sealed)
        if sealed.body["action"] == "receipt":
            self.receipts.append(sealed.sha256)
        self._sha256 = sealed.sha256
        self._witnessed.append(self._witnessed_at(time, stated=sealed.body["action"] == "clock"))
        self.last_time = time

    def data_sets(self) -> tuple[DataSet, ...]:
        """Return each account once, in the order of its first charge, as it was charged last."""
        return tuple(
            {c.data_set.fingerprint: c.data_set for c in list(self.charges.values())}.values()
        )

    def files_of(self, run: str) -> frozenset[str]:
        """Return the files whose records a run was charged for; one, where all is well."""
        return frozenset(charge.data_set.file for charge in self.counted(run=run))

    def runs(self) -> tuple[str, ...]:
        """Return each run once, in the order of its first charge."""
        return tuple(dict.fromkeys(charge.run for charge in list(self.charges.values())))

    def counted(
        self, data_set: DataSet | None = None, *, run: str | None = None
    ) -> Iterator[Charge]:
        """Yield the charges that count, of one account or of all, of one run or of all.

        Charges to the files that an account is linked with count as its own: the same people may
        be in both, and a row that was edited may have changed sides.
        """
        charges = list(self.charges.values())
        linked = linked_files([charge.data_set for charge in charges], data_set)
        for charge in charges:
            account = charge.data_set
            wanted = (
                data_set is None
                or account.fingerprint == data_set.fingerprint
                or account.file in linked
            )
            if wanted and charge.state != "released" and run in (None, charge.run):
                yield charge

    def kinds_of(self, data_set: DataSet) -> set[str]:
        """Return what an account itself was ever charged for, released or not."""
        return {
            charge.kind
            for charge in list(self.charges.values())
            if charge.data_set.fingerprint == data_set.fingerprint
        }

    def unit_of(self, data_set: DataSet) -> str:
        """Return whose epsilon an account's is: "record", "person", or "unit" if charges differ."""
        units = {charge.data_set.unit for charge in self.counted(data_set)}
        return units.pop() if len(units) == 1 and units != {""} else "unit"

    def runs_given_last(self) -> set[str]:
        """Return the runs of which a receipt was given since anything else was written."""
        found: set[str] = set()
        for sealed in reversed(self.entries):
            if sealed.body["action"] != "receipt":
                break
            found.add(str(sealed.body["run"]))
        return found

    def newest_charge(self, data_set: DataSet) -> Charge:
        """Return the newest charge of an account that has any, released or not."""
        return [
            charge
            for charge in list(self.charges.values())
            if charge.data_set.fingerprint == data_set.fingerprint
        ][-1]

    def spent(self, data_set: DataSet, *, delta: float, run: str | None = None) -> float:
        """Return the composed epsilon of an account, over its life or within one run."""
        return epsilon(_events(self.counted(data_set, run=run)), delta=delta)

    def age(self, charge: Charge, *, now: datetime) -> timedelta:
        """Return how long ago a charge was, as far as the entries since then are witnesses to it.

        A pause of more than `LONGEST_PAUSE` counts as that much, unless the entry that ended it
        says that the clock is right. So it is never more than the clocks' difference.
        """
        return self._witnessed_at(now) - self._witnessed[charge.index]

    def _witnessed_at(self, time: datetime, *, stated: bool = False) -> timedelta:
        if self.last_time is None:
            return timedelta(0)
        pause = time - self.last_time
        return self._witnessed[-1] + (pause if stated else min(pause, LONGEST_PAUSE))

    def overruns(
        self,
        data_set: DataSet,
        *,
        run: str,
        events: Sequence[Event],
        cap: Cap,
        now: datetime,
        whole_run: bool = False,
    ) -> tuple[str, ...]:
        """Say which limits of `cap` these events would pass, each as a clause with both values.

        Args:
            data_set: account to be charged.
            run: run that asks.
            events: what it asks for.
            cap: the limits.
            now: end of the 365 days.
            whole_run: `events` is all that the run will ask for, so that what it was charged
                already is part of it and not counted twice.
        """
        charges = list(self.counted(data_set))
        if whole_run:
            charges = [charge for charge in charges if charge.run != run]
        same_run = [charge for charge in charges if charge.run == run]
        same_year = [charge for charge in charges if self.age(charge, now=now) < YEAR]
        unwitnessed = any(charge.time <= now - YEAR for charge in same_year)
        limits = (
            ("over the life of the data set", charges, cap.epsilon),
            ("within the run", same_run, cap.per_run),
            ("within 365 days", same_year, cap.per_year),
        )
        found: list[str] = []
        for words, before, limit in limits:
            if limit is None:
                continue
            total = epsilon((*_events(before), *events), delta=cap.delta)
            if not total <= limit:  # so that a NaN is refused too
                spent = epsilon(_events(before), delta=cap.delta)
                found.append(
                    f"epsilon {words} would go from {spent:.4g} to {total:.4g}, past the cap of "
                    f"{limit:g} at delta={cap.delta:g} (add-or-remove-one)"
                    + (_PAUSED if unwitnessed and before is same_year else "")
                )
        return tuple(found)

    def _checked(self, body: dict[str, Any], sealed: Sealed, index: int) -> datetime:
        key = body["public-key"] if index == 0 else self._public_key
        if index == 0 and self._public_key not in (None, key):
            raise ValueError(f"it opens the ledger of key {key}, not of {self._public_key}")
        if fault := key_fault(key):
            raise ValueError(f"the ledger's public key {fault}")
        if not verify(str(key), sealed.raw, sealed.signature, purpose=ENTRY_PURPOSE):
            raise ValueError("its signature is not by the ledger's key")
        if body["index"] != index or body["previous"] != self._sha256:
            raise ValueError("it does not follow the entry before it")
        time = datetime.fromisoformat(body["time"])
        if self.last_time is not None and time < self.last_time:
            raise ValueError("its time is before that of the entry before it")
        return time

    def _apply(self, body: dict[str, Any], index: int, time: datetime) -> None:
        action = body["action"]
        if (action == "open") != (index == 0):
            raise ValueError(f"action {action!r} is out of place")
        if action == "open":
            self._public_key = str(body["public-key"])
        elif action == "reserve":
            self.charges[index] = _charge(body, index, time)
        elif action in {"confirm", "release"}:
            self._settle(int(body["reservation"]), confirmed=action == "confirm")
        elif action == "officers":
            self.officers = _officers(body)
        elif action == "clock":
            self._check_statement(body)
        elif action != "receipt":
            raise ValueError(f"unknown action {action!r}")

    def _check_statement(self, body: dict[str, Any]) -> None:
        """Check that an officer signed what the clock says; a pinned one, where any are."""
        officer = str(body["officer"])
        pinned = self.officers if self.officers and self.officers.required_signatures else None
        if pinned and officer not in pinned.public_keys:
            raise ValueError("the clock was stated by a key that is no pinned officer's")
        if body["stated"] != body["time"]:
            raise ValueError("the statement about the clock is of another time than the entry")
        statement, signature = clock_statement(body), bytes.fromhex(str(body["signature"]))
        if not verify(officer, statement, signature, purpose=CLOCK_PURPOSE):
            raise ValueError("the statement about the clock is not signed by its officer")

    def _settle(self, index: int, *, confirmed: bool) -> None:
        charge = self.charges[index]
        if charge.state != "reserved":
            raise ValueError(f"reservation {index} is already {charge.state}")
        self.charges[index] = replace(charge, state="confirmed" if confirmed else "released")


def clock_statement(body: Mapping[str, Any]) -> bytes:
    """Return what an officer signs about the clock: the entry before, and what it says now."""
    return canonical.encode({"after": body["previous"], "time": body["stated"]})


def _events(charges: Sequence[Charge] | Iterator[Charge]) -> tuple[Event, ...]:
    return tuple(event for charge in charges for event in charge.events)


def _officers(body: dict[str, Any]) -> PinnedOfficers:
    keys = tuple(map(str, body["public-keys"]))
    for key in keys:
        if fault := key_fault(key):
            raise ValueError(f"an officer's public key {fault}")
    return PinnedOfficers(public_keys=keys, required_signatures=int(body["required-signatures"]))


def _charge(body: dict[str, Any], index: int, time: datetime) -> Charge:
    account = body["data-set"]
    return Charge(
        index=index,
        time=time,
        data_set=DataSet(
            fingerprint=account["fingerprint"],
            label=account["label"],
            source=account.get("source", ""),
            follows=tuple(account.get("follows", ())),
            unit=account.get("unit", ""),
        ),
        run=body["run"],
        round_number=body["round"],
        kind=body["kind"],
        charter_hash=body["charter-hash"],
        events=tuple(from_document(event) for event in body["events"]),
        cap_epsilon=read_epsilon(body["cap"]["epsilon"]),
        cap_delta=float(body["cap"]["delta"]),
        state="reserved",
    )
