"""What a site remembers between messages: answers drawn, self-tests passed, sums that were opened.

A sum that fell through is asked for again, in the same run or after a restart. Drawing fresh noise
would cost budget a second time and, averaged, weaken the noise; the same noised vector under fresh
masks does neither, since it is one release however often it is sent. So a round of a task has one
answer, to one model. Under distributed trust it has one for each cohort: there the noise of an
answer rests on the others in the sum, and two sums over disjoint others would leave less of it.

Danger: an answer carries this site's share of the noise only. The file is mode 0600, never leaves
the site, and an answer is deleted when its sum is opened.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedethics.errors import LedgerError, SecaggReject
from fedethics.privacy.ledger.receipt import Slices, SumSeen

_TABLES = """
CREATE TABLE IF NOT EXISTS answers (
    charter TEXT, run TEXT, task TEXT, round INTEGER, model TEXT NOT NULL, words BLOB NOT NULL,
    audience TEXT NOT NULL DEFAULT '', PRIMARY KEY (charter, run, task, round));
CREATE TABLE IF NOT EXISTS self_tests (charter TEXT, run TEXT, PRIMARY KEY (charter, run));
CREATE TABLE IF NOT EXISTS sums (
    charter TEXT, run TEXT, task TEXT, round INTEGER, sha256 TEXT NOT NULL,
    PRIMARY KEY (charter, run, task, round));
CREATE TABLE IF NOT EXISTS checks (
    charter TEXT, run TEXT, task TEXT, round INTEGER, session TEXT NOT NULL, state TEXT NOT NULL,
    PRIMARY KEY (charter, run, task, round));
CREATE TABLE IF NOT EXISTS adapters (
    charter TEXT, run TEXT, task TEXT, round INTEGER, sha256 TEXT NOT NULL,
    PRIMARY KEY (charter, run, task, round));
CREATE TABLE IF NOT EXISTS refusals (charter TEXT PRIMARY KEY, since TEXT NOT NULL);
"""
_SUMS = """SELECT task, round, sums.sha256, coalesce(state, 'asked'), adapters.sha256 FROM sums
    LEFT JOIN checks USING (charter, run, task, round)
    LEFT JOIN adapters USING (charter, run, task, round)
    WHERE charter = ? AND run = ? ORDER BY round, task"""
_CHECK = "UPDATE checks SET state = ? WHERE session = ? AND state IN (?, ?)"
# A check that began and never ended proved nothing.
_SAID: dict[str, Slices] = {
    "asked": "unchecked",
    "begun": "unchecked",
    "passed": "passed",
    "failed": "failed",
}
_FIND = """SELECT model, words, audience FROM answers
    WHERE charter = ? AND run = ? AND task = ? AND round = ?"""
_FORGET = "DELETE FROM answers WHERE charter = ? AND run = ? AND task = ? AND round = ?"


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One round of one task of a run: answered once."""

    charter_hash: str
    run: str
    task: str
    round_number: int

    @property
    def key(self) -> tuple[str, str, str, int]:
        """The row that holds it."""
        return self.charter_hash, self.run, self.task, self.round_number


@dataclass(frozen=True, slots=True)
class Journal:
    """The site's memory of its runs, in one SQLite file."""

    path: Path

    def find(
        self, question: Question, *, model_hash: str, audience: str = ""
    ) -> NDArray[np.int64] | None:
        """Return the answer already drawn for `question`, shape (length,), or None.

        Args:
            question: which round of which task.
            model_hash: what is asked about.
            audience: names the sites whose noise the answer rests on besides its own; empty where
                its own is enough. An answer drawn for others is not given.

        Raises:
            SecaggReject: it was drawn for another model; two models would be two releases.
        """
        with self._open() as connection:
            row = connection.execute(_FIND, question.key).fetchone()
        if row is None:
            return None
        if row[0] != model_hash:
            raise SecaggReject(
                f"{question.task} of round {question.round_number} was asked for with another "
                "model before; a round has one answer. Nothing was computed"
            )
        if row[2] != audience:
            return None
        return np.frombuffer(row[1], dtype="<i8").astype(np.int64)

    def keep(
        self,
        question: Question,
        vector: NDArray[np.int64],
        *,
        model_hash: str,
        audience: str = "",
        adapter_sha256: str = "",
    ) -> None:
        """Write an answer durably, before anything made of it leaves; one for others is dropped.

        With it stays, for good, which adapter the answer is about (as a file; empty for updates).
        """
        words = vector.astype("<i8").tobytes()
        with self._open() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*question.key, model_hash, words, audience),
            )
            if adapter_sha256:
                # The first stays: a later opening that names another adapter is refused.
                connection.execute(
                    "INSERT OR IGNORE INTO adapters VALUES (?, ?, ?, ?, ?)",
                    (*question.key, adapter_sha256),
                )

    def opened(self, question: Question, *, sum_sha256: str) -> None:
        """Note the sum that was opened for `question` and delete the answer to it."""
        with self._open() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO sums VALUES (?, ?, ?, ?, ?)", (*question.key, sum_sha256)
            )
            connection.execute(_FORGET, question.key)

    def sums(self, *, charter_hash: str, run: str) -> tuple[SumSeen, ...]:
        """Return the sums of a run that this site saw opened."""
        with self._open() as connection:
            rows = connection.execute(_SUMS, (charter_hash, run)).fetchall()
        return tuple(
            SumSeen(kind=task, round=number, sha256=sha, slices=_SAID[state], adapter=adapter)
            for task, number, sha, state, adapter in rows
        )

    def ask_for_check(self, question: Question, *, session_id: str) -> None:
        """Note that slices of a sum were asked for; what was found already stays."""
        with self._open() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO checks VALUES (?, ?, ?, ?, ?, 'asked')",
                (*question.key, session_id),
            )

    def begin_check(self, session_id: str) -> None:
        """Write that the check of a session's sum begins.

        Raises:
            SecaggReject: this site asked for no check of such a session.
        """
        with self._open() as connection:
            asked = connection.execute("SELECT 1 FROM checks WHERE session = ?", (session_id,))
            if asked.fetchone() is None:
                raise SecaggReject("this site asked for no slices of such a sum; nothing was done")
            connection.execute(_CHECK, ("begun", session_id, "asked", "asked"))

    def end_check(self, session_id: str, found: Literal["asked", "passed", "failed"]) -> None:
        """Write what a check found; "asked" if the answer was not one that it could be made on."""
        before = ("begun", "begun" if found == "asked" else "asked")
        if found == "failed":
            before = ("begun", "passed")
        with self._open() as connection:
            connection.execute(_CHECK, (found, session_id, *before))

    def unproven(self, *, charter_hash: str, run: str) -> tuple[str, ...]:
        """Return, in words, the sums of a run whose check failed, or began and never ended."""
        with self._open() as connection:
            rows = connection.execute(
                "SELECT task, round FROM checks WHERE charter = ? AND run = ? "
                "AND state IN ('begun', 'failed') ORDER BY round, task",
                (charter_hash, run),
            ).fetchall()
        return tuple(f"{task} of round {number}" for task, number in rows)

    def self_test_passed(self, *, charter_hash: str, run: str) -> bool:
        """Say whether the start-up self-test passed for a run."""
        with self._open() as connection:
            row = connection.execute(
                "SELECT 1 FROM self_tests WHERE charter = ? AND run = ?", (charter_hash, run)
            ).fetchone()
        return row is not None

    def record_self_test(self, *, charter_hash: str, run: str) -> None:
        """Remember that the start-up self-test passed for a run."""
        with self._open() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO self_tests VALUES (?, ?)", (charter_hash, run)
            )

    def refused_since(self, *, charter_hash: str) -> str:
        """Return when this site found that its records do not go with a charter, or an empty text.

        The answer is kept: whoever asked again after the records changed would learn another bit.
        """
        with self._open() as connection:
            row = connection.execute(
                "SELECT since FROM refusals WHERE charter = ?", (charter_hash,)
            ).fetchone()
        return str(row[0]) if row else ""

    def keep_refusal(self, *, charter_hash: str, since: str) -> None:
        """Keep the answer that this site's records do not go with a charter."""
        with self._open() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO refusals VALUES (?, ?)", (charter_hash, since)
            )

    def drop_refusal(self, *, charter_hash: str) -> None:
        """Let the site decide anew; for a person at the site, never for a message."""
        with self._open() as connection:
            connection.execute("DELETE FROM refusals WHERE charter = ?", (charter_hash,))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            if not self.path.exists():
                os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600))
            with closing(sqlite3.connect(self.path, timeout=30.0)) as connection:
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA secure_delete = ON")
                connection.executescript(_TABLES)
                with connection:
                    yield connection
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(f"{self.path} cannot be used ({error}); nothing was sent") from error
