"""Two files that agree: how one entry reaches the disk, and how a killed writer is caught up with.

Order of writes for each entry, under one exclusive SQLite lock:

1. the entry, signed, replaces the head file (temporary file, fsync, rename, fsync of the folder);
2. the entry is inserted into the SQLite file and committed (fsync).

The head file is written first and holds the whole entry, so it is a write-ahead log of length one:
an entry counts from step 1 on. A process killed before step 1 leaves no trace; one killed between
the steps leaves a ledger one entry short of its head, and the next opening copies that entry in.
There is no moment at which an entry whose `append` returned can be missing, and none at which an
older copy of the ledger passes for the current one: a ledger two or more entries short of its
head, or ahead of it, is refused, and one that is one entry short gets the entry back. Only older
copies of both files, put back together, are not seen here; the receipts that others hold show it
(`verify_files`, `fedethics.site.countersigning`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from fedethics import canonical
from fedethics.canonical import Json
from fedethics.errors import LedgerError, LedgerTampered
from fedethics.identity import Identity
from fedethics.privacy.ledger.book import Book
from fedethics.privacy.ledger.entries import ENTRY_PURPOSE, Sealed
from fedethics.privacy.ledger.head_file import HeadFile, pending_entry
from fedethics.privacy.ledger.store import Store, Transaction


class LedgerFiles:
    """The ledger's two files and the book that they hold.

    Attributes:
        book: everything read so far; current inside `exclusive` and right after `refresh`.
    """

    def __init__(
        self, path: Path, *, identity: Identity, clock: Callable[[], datetime], create: bool
    ) -> None:
        """Name the files; with `create`, start a ledger where neither is there.

        Raises:
            LedgerError: there is no ledger, or none can be created.
        """
        self.book = Book(identity.public_key)
        self._store = Store(path)
        self._head_file = HeadFile(path)
        self._identity = identity
        self._clock = clock
        self._create = create
        self._lock = threading.RLock()
        if not path.exists():
            self._make_file(path)

    def refresh(self) -> Book:
        """Return the book, after reading what other processes wrote."""
        with self.exclusive():
            return self.book

    @contextmanager
    def exclusive(self) -> Iterator[Callable[[dict[str, Json], datetime], None]]:
        """Hold the ledger alone, caught up and verified; yields what appends one entry.

        Raises:
            LedgerError: unreadable, unwritable or busy.
            LedgerTampered: what does not verify, naming the entry.
        """
        with self._lock, self._store.exclusive() as transaction:
            self._catch_up(transaction)
            yield lambda body, now: self._append(transaction, body, now)

    def _make_file(self, path: Path) -> None:
        if not self._create:
            raise LedgerError(f"there is no ledger at {path}; nothing was computed")
        try:
            self._store.create_file()
        except OSError as error:
            raise LedgerError(
                f"ledger {path} cannot be created ({error}); nothing was computed"
            ) from error

    def _catch_up(self, transaction: Transaction) -> None:
        """Read what other processes wrote, and finish what a killed one began."""
        head = self._head_file.read()
        if transaction.empty():
            self._begin(transaction, head)
            return
        for sealed in transaction.rows(start=self.book.length):
            self.book.extend(sealed)
        pending = pending_entry(self.book, head)
        if pending is not None:
            self._write(transaction, pending)

    def _begin(self, transaction: Transaction, head: Sealed | None) -> None:
        if head is not None and head.body["index"] != 0:
            raise LedgerTampered(
                f"ledger {self._store.path} is empty, but its head records entry "
                f"{head.body['index']}: the ledger was removed. Nothing was computed"
            )
        if head is None and not self._create:
            raise LedgerError(
                f"ledger {self._store.path} holds no entries; nothing was computed. If this site "
                "never charged anything, remove the empty file and start again"
            )
        transaction.create()
        if head is not None:
            self._write(transaction, head)
            return
        opening: dict[str, Json] = {
            "action": "open",
            "format": 1,
            "ledger": uuid4().hex,
            "public-key": self._identity.public_key,
        }
        self._append(transaction, opening, self._clock())

    def _append(self, transaction: Transaction, body: dict[str, Json], now: datetime) -> None:
        placed = {
            **body,
            "index": self.book.length,
            "previous": self.book.tail_hash,
            "time": now.astimezone(UTC).isoformat(),
        }
        raw = canonical.encode(placed)
        sealed = Sealed(raw=raw, signature=self._identity.sign(raw, purpose=ENTRY_PURPOSE))
        self._head_file.write(sealed)  # from here on the entry counts
        self._write(transaction, sealed)

    def _write(self, transaction: Transaction, sealed: Sealed) -> None:
        transaction.insert(self.book.length, sealed)
        transaction.commit()
        # Only a committed entry enters the book, so a failed commit is found and redone later.
        self.book.extend(sealed)
        transaction.begin()
