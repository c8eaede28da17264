"""The entries on disk: one SQLite file, written in exclusive transactions that survive power loss.

`synchronous=EXTRA` with a rollback journal syncs the journal, the file and, after the commit, the
folder. Each transaction has a connection of its own, so threads and forks never share one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from fedethics.errors import LedgerError, LedgerTampered
from fedethics.privacy.ledger.entries import Sealed
from fedethics.storage import databases

BUSY_TIMEOUT_S = 60.0
_CREATE = (
    "CREATE TABLE entries (position INTEGER PRIMARY KEY, "
    "raw BLOB NOT NULL, signature BLOB NOT NULL) STRICT"
)
# All that a ledger's file may hold, and the settings in its header that a ledger never sets.
_LAYOUT = ("table", "entries", _CREATE)
_SETTINGS = ("user_version", "application_id")
_ENVIRONMENT = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}


class Transaction:
    """Sole access to the file until committed or left."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Use `Store.exclusive`."""
        self._connection = connection

    def begin(self) -> None:
        """Wait for sole access."""
        self._connection.execute("BEGIN EXCLUSIVE")

    def commit(self) -> None:
        """Make everything inserted since `begin` durable."""
        self._connection.execute("COMMIT")

    def empty(self) -> bool:
        """Say whether the file holds no ledger yet.

        Raises:
            LedgerTampered: it holds anything but a ledger's one table, as `create` lays it out. A
                trigger could drop what is written, a view stand in for the table.
        """
        query = "SELECT type, name, sql FROM sqlite_master ORDER BY type, name"
        found = self._connection.execute(query).fetchall()
        strange = [f"{kind} {name!r}" for kind, name, sql in found if (kind, name, sql) != _LAYOUT]
        settings = {
            name: self._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in _SETTINGS
        }
        strange += [f"{name} = {settings[name]}" for name in _SETTINGS if settings[name] != 0]
        if strange:
            raise LedgerTampered(
                f"the ledger's file holds what no ledger has: {', '.join(strange)}. Nothing was "
                "computed; keep the file as evidence and compare it with a backup"
            )
        return not found

    def create(self) -> None:
        """Lay out an empty file."""
        self._connection.execute(_CREATE)

    def insert(self, position: int, sealed: Sealed) -> None:
        """Append one entry."""
        self._connection.execute(
            "INSERT INTO entries VALUES (?, ?, ?)", (position, sealed.raw, sealed.signature)
        )

    def rows(self, *, start: int) -> Iterator[Sealed]:
        """Yield the entries from `start` on."""
        query = "SELECT position, raw, signature FROM entries WHERE position >= ? ORDER BY position"
        for expected, (position, raw, signature) in enumerate(
            self._connection.execute(query, (start,)), start
        ):
            if position != expected or type(raw) is not bytes or type(signature) is not bytes:
                raise LedgerTampered(f"ledger entry {expected} does not verify: it is not in place")
            yield Sealed(raw=raw, signature=signature)


class Store:
    """The ledger file."""

    def __init__(self, path: Path) -> None:
        """Name the file; nothing is opened yet."""
        self.path = path

    def create_file(self) -> None:
        """Make an empty file with mode 0600, or leave the one that is there."""
        databases.make_empty(self.path)

    @contextmanager
    def exclusive(self) -> Iterator[Transaction]:
        """Hold the file alone; what is not committed on leaving is undone.

        Raises:
            LedgerError: the file cannot be read or written, or stays busy.
            LedgerTampered: the file is not a sound SQLite database.
        """
        with self._connected("rw") as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
            transaction = Transaction(connection)
            transaction.begin()
            yield transaction

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """Read one consistent state without writing to the file."""
        with self._connected("ro") as connection:
            connection.execute("BEGIN")
            yield Transaction(connection)

    @contextmanager
    def _connected(self, mode: Literal["rw", "ro"]) -> Iterator[sqlite3.Connection]:
        try:
            with databases.connected(
                self.path, timeout_s=BUSY_TIMEOUT_S, mode=mode, synchronous="EXTRA"
            ) as connection:
                yield connection
        except (sqlite3.Error, OSError) as error:
            raise self._explained(error) from error

    def _explained(self, error: sqlite3.Error | OSError) -> LedgerError | LedgerTampered:
        code = getattr(error, "sqlite_errorcode", None)
        if isinstance(error, OSError) or (code is not None and code & 0xFF in _ENVIRONMENT):
            return LedgerError(
                f"ledger {self.path} cannot be read or written ({error}); nothing was computed or "
                "sent. Free the disk or the lock and try again; a charge that was being written "
                "may stand, which costs budget and hides nothing"
            )
        return LedgerTampered(
            f"ledger {self.path} is damaged ({error}); nothing was computed or sent. Keep the file "
            "as evidence and compare it with a backup and with the receipts others hold"
        )
