"""The site's own durable memory of secure aggregation: one SQLite file, read by nobody else.

Guarantee: a step is on the disk (fsync) before its message leaves; a failed step leaves no trace;
any process of the site can take up a session between any two messages.
"""

from __future__ import annotations

import json
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fedethics.commands import command
from fedethics.errors import LedgerError, PolicyError
from fedethics.secagg.store_transaction import StoreTransaction
from fedethics.storage import databases

_SCHEMA_VERSION = 3
_LOCK_TIMEOUT_S = 60.0
# A vector of 4 MB goes in, is masked and wiped for 20 ms of CPU instead of the 30 ms of 4 KiB pages
# (28 instead of 46 on a disk); pages of 64 KiB save 1 ms more and cost small steps as much.
_PAGE_BYTES = 1 << 14
_EPOCHS_AND_TRUST = """
CREATE TABLE epochs (
    charter TEXT NOT NULL, epoch TEXT NOT NULL, run TEXT NOT NULL, attempt INTEGER NOT NULL,
    announcement BLOB NOT NULL, epoch_hash TEXT NOT NULL, acknowledgement BLOB NOT NULL,
    counter INTEGER NOT NULL, round INTEGER NOT NULL, expires_s INTEGER NOT NULL,
    secrets BLOB NOT NULL, PRIMARY KEY (charter, epoch));
CREATE TABLE revoked (
    key TEXT PRIMARY KEY, at_s INTEGER NOT NULL, reason TEXT NOT NULL, notice BLOB NOT NULL);
CREATE TABLE charters (
    name TEXT PRIMARY KEY, version INTEGER NOT NULL, members TEXT NOT NULL);
"""
_SCHEMA = """
CREATE TABLE attempts (
    charter TEXT NOT NULL, run TEXT NOT NULL, attempt INTEGER NOT NULL,
    PRIMARY KEY (charter, run));
CREATE TABLE sessions (
    session TEXT PRIMARY KEY, charter TEXT NOT NULL, run TEXT NOT NULL, task TEXT NOT NULL,
    round INTEGER NOT NULL, stage TEXT NOT NULL, state BLOB NOT NULL);
CREATE TABLE secrets (session TEXT PRIMARY KEY, secrets BLOB NOT NULL);
CREATE TABLE vectors (session TEXT PRIMARY KEY, words BLOB NOT NULL);
CREATE TABLE replies (
    session TEXT NOT NULL, kind INTEGER NOT NULL, request BLOB NOT NULL, reply BLOB NOT NULL,
    PRIMARY KEY (session, kind));
CREATE TABLE rounds (
    ordinal INTEGER PRIMARY KEY AUTOINCREMENT, charter TEXT NOT NULL, run TEXT NOT NULL,
    task TEXT NOT NULL, round INTEGER NOT NULL, verdict TEXT NOT NULL, cohort TEXT NOT NULL,
    survivors TEXT NOT NULL, session TEXT NOT NULL DEFAULT '',
    UNIQUE (charter, run, task, round));
CREATE TABLE evidence (
    ordinal INTEGER PRIMARY KEY AUTOINCREMENT, at_s INTEGER NOT NULL, charter TEXT NOT NULL,
    signer TEXT NOT NULL, reason TEXT NOT NULL, message BLOB NOT NULL, earlier BLOB NOT NULL,
    digest TEXT NOT NULL UNIQUE);
"""
# Version 1 kept no counters: its pending keys go, so joining needs the next attempt of the run.
_FROM_VERSION_1 = f"DROP TABLE epochs; {_EPOCHS_AND_TRUST}"
# Version 2 did not say in which session a round was opened.
_FROM_VERSION_2 = "ALTER TABLE rounds ADD COLUMN session TEXT NOT NULL DEFAULT '';"
_STEPS = {1: _FROM_VERSION_1, 2: _FROM_VERSION_2}


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedRound:
    """A sum that this site agreed to open, as it stands from the moment of the REVEAL on.

    Attributes:
        aggregate, round_number: which sum; in the file, the column `task` is the aggregate.
        session: the session in which it was opened; empty if an older version wrote it.
        cohort: the sites that were asked.
        survivors: the sites in the sum, as this site agreed to them.
    """

    aggregate: str
    round_number: int
    session: str
    cohort: tuple[str, ...]
    survivors: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProvenLie:
    """A lie that this site caught.

    Attributes:
        at_s: when, in seconds since 1970.
        signer: who signed the message.
        message: the signed message itself, which anyone can check against the roster.
        earlier: for two contradicting messages, the one that came first; else empty.
    """

    at_s: int
    charter_hash: str
    signer: str
    reason: str
    message: bytes
    earlier: bytes


class SiteStore:
    """A site's sessions, epoch keys, opened rounds and evidence, in one file of mode 0600."""

    def __init__(self, path: Path) -> None:
        """Open the store at `path`, or make it (and its folder, mode 0700).

        Raises:
            PolicyError: others may read the file or its folder, or another version wrote it.
            LedgerError: it cannot be made, as when the disk is full.
        """
        self._path = Path(path)
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_if_shared(self._path.parent, remedy="700")
        if not self._path.exists():
            self._create()
        _refuse_if_shared(self._path, remedy="600")
        with self._connected() as connection:
            version = _brought_up_to_date(connection)
        if version != _SCHEMA_VERSION:
            raise PolicyError(
                f"secure-aggregation store {path} has version {version}, expected "
                f"{_SCHEMA_VERSION}; this site takes no part until it is moved away"
            )

    @contextmanager
    def transaction(self) -> Iterator[StoreTransaction]:
        """Run one step: all of it is durable on a clean exit, none of it on an exception.

        Raises:
            LedgerError: the file cannot be read or written, as when the disk is full.
        """
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield StoreTransaction(connection)
            except BaseException:
                # SQLite has rolled back by itself where it was the disk that failed.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def revoked_keys(self) -> dict[str, str]:
        """Return every public key that was revoked here -> why; such a key never comes back."""
        with self.transaction() as step:
            return step.trust.revoked_keys()

    def opened(self, *, charter_hash: str, run: str) -> tuple[OpenedRound, ...]:
        """Return every sum of a run that this site agreed to open, oldest first."""
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT task, round, session, cohort, survivors FROM rounds WHERE charter = ? "
                "AND run = ? AND verdict = 'opened' ORDER BY ordinal",
                (charter_hash, run),
            ).fetchall()
        return tuple(
            OpenedRound(
                aggregate=aggregate,
                round_number=number,
                session=session,
                cohort=tuple(json.loads(cohort)),
                survivors=tuple(json.loads(survivors)),
            )
            for aggregate, number, session, cohort, survivors in rows
        )

    def proven_lies(self) -> tuple[ProvenLie, ...]:
        """Return every lie caught so far, oldest first."""
        columns = "at_s, charter, signer, reason, message, earlier"
        with self._connected() as connection:
            rows = connection.execute(f"SELECT {columns} FROM evidence ORDER BY ordinal")  # noqa: S608
            return tuple(
                ProvenLie(
                    at_s=at_s,
                    charter_hash=charter,
                    signer=signer,
                    reason=reason,
                    message=message,
                    earlier=earlier,
                )
                for at_s, charter, signer, reason, message, earlier in rows
            )

    def _create(self) -> None:
        with self._explained():
            databases.make(self._path, _lay_out)

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with (
            self._explained(),
            databases.connected(self._path, timeout_s=_LOCK_TIMEOUT_S, erase=True) as connection,
        ):
            yield connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise LedgerError(
                f"{self._path} cannot be used ({error}); nothing was sent. Make room on the disk "
                "or free the file, and the same step can be taken again"
            ) from error


def _lay_out(connection: sqlite3.Connection) -> None:
    connection.executescript(
        f"PRAGMA page_size = {_PAGE_BYTES}; "
        f"BEGIN IMMEDIATE; {_EPOCHS_AND_TRUST} {_SCHEMA} "
        f"PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT;"
    )


def _brought_up_to_date(connection: sqlite3.Connection) -> int:
    """Bring a store of an older version to this one, all or nothing; return its version then."""
    if _version(connection) not in _STEPS:
        return _version(connection)
    connection.execute("BEGIN IMMEDIATE")
    # Asked again under the lock: another process of this site may have been first.
    while (version := _version(connection)) in _STEPS:
        for statement in _STEPS[version].split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {version + 1}")
    connection.execute("COMMIT")
    return version


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _refuse_if_shared(path: Path, *, remedy: str) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise PolicyError(
            f"{path} has mode {mode:04o}; others could read this site's masks. "
            f"Run: {command('chmod', remedy, path)}"
        )
