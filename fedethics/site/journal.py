"""What a site remembers between messages: answers drawn, self-tests passed, sums that were opened.

And the adapter that this site derived from those sums, the newest one only: it answers to no other.

A sum that fell through is asked for again, in the same run or after a restart. Drawing fresh noise
would cost budget a second time and, averaged, weaken the noise; the same noised vector under fresh
masks does neither, since it is one release however often it is sent. So a round of an aggregate has
one answer, to one model. Under distributed trust it has one for each cohort: there the noise of an
answer rests on the others in the sum, and two sums over disjoint others would leave less of it.

Danger: an answer carries this site's share of the noise only. The file is mode 0600, never leaves
the site, and an answer is deleted when its sum is opened.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedethics.aggregates.registry import aggregate
from fedethics.canonical import sha256_hex
from fedethics.errors import LedgerError, SecaggReject
from fedethics.privacy.ledger.receipt import Slices
from fedethics.storage import databases

# The column `task` holds the name of the aggregate.
_TABLES = """
CREATE TABLE IF NOT EXISTS answers (
    charter TEXT, run TEXT, task TEXT, round INTEGER, model TEXT NOT NULL, words BLOB NOT NULL,
    audience TEXT NOT NULL DEFAULT '', PRIMARY KEY (charter, run, task, round));
CREATE TABLE IF NOT EXISTS tested (
    charter TEXT, run TEXT, basis TEXT, PRIMARY KEY (charter, run, basis));
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
CREATE TABLE IF NOT EXISTS derived (
    charter TEXT, run TEXT, round INTEGER, state TEXT NOT NULL, sha256 TEXT NOT NULL,
    words BLOB NOT NULL, PRIMARY KEY (charter, run, round));
CREATE TABLE IF NOT EXISTS moments (
    charter TEXT, run TEXT, round INTEGER, words BLOB NOT NULL, PRIMARY KEY (charter, run, round));
"""
_SUMS = """SELECT task, round, sums.sha256, coalesce(state, 'none'), adapters.sha256 FROM sums
    LEFT JOIN checks USING (charter, run, task, round)
    LEFT JOIN adapters USING (charter, run, task, round)
    WHERE charter = ? AND run = ? ORDER BY round, task"""
_CHECK = "UPDATE checks SET state = ? WHERE session = ? AND state IN (?, ?)"
_SHED = "UPDATE derived SET words = x'' WHERE charter = ? AND run = ? AND round < ?"
Check = Literal["none", "asked", "begun", "passed", "failed"]
# A check that began and never ended proved nothing.
_SAID: dict[Check, Slices] = {
    "none": "unchecked",
    "asked": "unchecked",
    "begun": "unchecked",
    "passed": "passed",
    "failed": "failed",
}
_DERIVED = """SELECT round, state, derived.sha256, derived.words, moments.words FROM derived
    LEFT JOIN moments USING (charter, run, round)
    WHERE charter = ? AND run = ? AND state != 'told' AND derived.words != x''
    ORDER BY round DESC LIMIT 1"""
_SHED_MOMENTS = "DELETE FROM moments WHERE charter = ? AND run = ? AND round < ?"
_PASSED = """SELECT charter, run, task, round FROM checks
    WHERE session = ? AND state = 'passed'"""
_FIND = """SELECT model, words, audience FROM answers
    WHERE charter = ? AND run = ? AND task = ? AND round = ?"""
_FORGET = "DELETE FROM answers WHERE charter = ? AND run = ? AND task = ? AND round = ?"


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One round of one aggregate of a run: answered once."""

    charter_hash: str
    run: str
    aggregate: str
    round_number: int

    @property
    def key(self) -> tuple[str, str, str, int]:
        """The row that holds it."""
        return self.charter_hash, self.run, self.aggregate, self.round_number


@dataclass(frozen=True, kw_only=True, slots=True)
class ToldSum:
    """A sum that this site was told.

    Attributes:
        sha256: of the sum, as 64-bit little-endian integers.
        check: how far this site's check of its slices came; "none" where it asked for none.
        adapter: SHA-256 of the adapter file that counts are about; None for updates.
    """

    sha256: str
    check: Check
    adapter: str | None

    @property
    def slices(self) -> Slices:
        """What a receipt says of the check."""
        return _SAID[self.check]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Derived:
    """The adapter that this site derived from the public start and from sums that it believes.

    Attributes:
        round_number: the last round whose sum is in it.
        vector: float32, shape (p,).
        held: an opening named this very vector, and it was found to follow. Until then it is a
            plain step, which the charter's form may still rotate (`server_step.follows`).
        moments: the server's memory after that round, float64, shape (rows, p), which this site
            derived alike; None at the start, and where the charter's server has none.
    """

    round_number: int
    vector: NDArray[np.float32]
    held: bool = False
    moments: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class Journal:
    """The site's memory of its runs, in one SQLite file."""

    path: Path

    def find(
        self, question: Question, *, model_hash: str, audience: str = ""
    ) -> NDArray[np.int64] | None:
        """Return the answer already drawn for `question`, shape (length,), or None.

        Args:
            question: which round of which aggregate.
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
                f"{question.aggregate} of round {question.round_number} was asked for with another "
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

        With it is kept, permanently, which adapter the answer is about (as a file; empty for
        updates).
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

    def opened(
        self,
        question: Question,
        *,
        sum_sha256: str,
        adapter: NDArray[np.float32] | None = None,
        moments: NDArray[np.float64] | None = None,
        believed: bool = False,
    ) -> None:
        """Note the sum that was opened for `question` and delete the answer to it.

        Args:
            question: which round of which aggregate.
            sum_sha256: of the sum.
            adapter: the last adapter after this sum is applied, shape (p,), if it is a sum of
                updates. It counts once the sum has passed its check (`end_check`).
            moments: the server's memory with this sum, shape (rows, p), if it has one.
            believed: the charter asks for no check, so that it counts at once.
        """
        with self._open() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO sums VALUES (?, ?, ?, ?, ?)", (*question.key, sum_sha256)
            )
            connection.execute(_FORGET, question.key)
            if adapter is not None:
                words = adapter.astype("<f4").tobytes()
                row = (*_place(question), "told", sha256_hex(words), words)
                connection.execute("INSERT OR IGNORE INTO derived VALUES (?, ?, ?, ?, ?, ?)", row)
                if moments is not None:
                    connection.execute(
                        "INSERT OR IGNORE INTO moments VALUES (?, ?, ?, ?)",
                        (*_place(question), moments.astype("<f8").tobytes()),
                    )
            if believed:
                _believe(connection, *question.key)

    def derived(self, *, charter_hash: str, run: str) -> Derived | None:
        """Return the newest adapter derived from sums that this site believes.

        None before the first, and once the run's last sum was opened.
        """
        with self._open() as connection:
            row = connection.execute(_DERIVED, (charter_hash, run)).fetchone()
        if row is None:
            return None
        vector = np.frombuffer(row[3], dtype="<f4").astype(np.float32)
        moments = None
        if row[4] is not None:
            moments = np.frombuffer(row[4], dtype="<f8").astype(np.float64)
            moments = moments.reshape(-1, vector.size)
        return Derived(round_number=row[0], vector=vector, held=row[1] == "held", moments=moments)

    def derived_sha256(self, *, charter_hash: str, run: str, round_number: int) -> str | None:
        """Return the SHA-256 of the adapter that was held after a round; None if none was.

        Of the vector's little-endian float32. Of rounds before the newest, this is all that is
        kept.
        """
        with self._open() as connection:
            row = connection.execute(
                "SELECT sha256 FROM derived WHERE charter = ? AND run = ? AND round = ? "
                "AND state = 'held'",
                (charter_hash, run, round_number),
            ).fetchone()
        return None if row is None else row[0]

    def derive(self, question: Question, derived: Derived) -> None:
        """Keep an adapter as the newest one; what it was derived from is believed already.

        Args:
            question: names charter and run.
            derived: the adapter and its round. Earlier ones are deleted; their hashes are kept.
        """
        words = derived.vector.astype("<f4").tobytes()
        place = (question.charter_hash, question.run, derived.round_number)
        state = "held" if derived.held else "plain"
        with self._open() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO derived VALUES (?, ?, ?, ?, ?, ?)",
                (*place, state, sha256_hex(words), words),
            )
            if derived.moments is not None:
                connection.execute(
                    "INSERT OR REPLACE INTO moments VALUES (?, ?, ?, ?)",
                    (*place, derived.moments.astype("<f8").tobytes()),
                )
            _shed(connection, place)

    def sums(self, *, charter_hash: str, run: str) -> Mapping[tuple[str, int], ToldSum]:
        """Return the sums of a run that this site was told, by aggregate and round."""
        with self._open() as connection:
            rows = connection.execute(_SUMS, (charter_hash, run)).fetchall()
        return {
            (name, number): ToldSum(sha256=sha, check=state, adapter=adapter)
            for name, number, sha, state, adapter in rows
        }

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
            if found == "passed":
                passed = connection.execute(_PASSED, (session_id,)).fetchone()
                if passed is not None:
                    _believe(connection, *passed)

    def self_test_passed(self, *, charter_hash: str, run: str, basis: str | None = None) -> bool:
        """Say whether the start-up self-test passed for a run.

        Args:
            charter_hash: the charter.
            run: the run.
            basis: names what was tested (see `RequestContext.basis`); None for any.
        """
        with self._open() as connection:
            row = connection.execute(
                "SELECT 1 FROM tested WHERE charter = ? AND run = ? AND basis = coalesce(?, basis)",
                (charter_hash, run, basis),
            ).fetchone()
        return row is not None

    def record_self_test(self, *, charter_hash: str, run: str, basis: str) -> None:
        """Remember that the start-up self-test passed for a run, and of what."""
        with self._open() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO tested VALUES (?, ?, ?)", (charter_hash, run, basis)
            )

    def refused_since(self, *, charter_hash: str) -> str:
        """Return when this site found that its records do not fit a charter, or an empty text.

        The answer is kept: someone who asked again after the records changed would learn another
        bit.
        """
        with self._open() as connection:
            row = connection.execute(
                "SELECT since FROM refusals WHERE charter = ?", (charter_hash,)
            ).fetchone()
        return str(row[0]) if row else ""

    def keep_refusal(self, *, charter_hash: str, since: str) -> None:
        """Keep the answer that this site's records do not fit a charter."""
        with self._open() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO refusals VALUES (?, ?)", (charter_hash, since)
            )

    def drop_refusal(self, *, charter_hash: str) -> None:
        """Let the site decide again. Only a person at the site may cause this, never a message."""
        with self._open() as connection:
            connection.execute("DELETE FROM refusals WHERE charter = ?", (charter_hash,))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            if not self.path.exists():
                databases.make_empty(self.path)
            with databases.connected(
                self.path, timeout_s=30.0, erase=True, implicit=True
            ) as connection:
                connection.executescript(_TABLES)
                with connection:
                    yield connection
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(f"{self.path} cannot be used ({error}); nothing was sent") from error


def _place(question: Question) -> tuple[str, str, int]:
    return question.charter_hash, question.run, question.round_number


def _believe(
    connection: sqlite3.Connection, charter: str, run: str, name: str, number: int
) -> None:
    """Let the adapter that a sum led to count, and delete those before it."""
    taken = connection.execute(
        "UPDATE derived SET state = 'plain' WHERE charter = ? AND run = ? AND round = ? "
        "AND state = 'told' AND ?",
        (charter, run, number, aggregate(name).trains),
    )
    if taken.rowcount:
        _shed(connection, (charter, run, number))
    if aggregate(name).ends_run:  # the last sum of a run: its adapter is not needed again
        _shed(connection, (charter, run, number + 1))


def _shed(connection: sqlite3.Connection, place: tuple[str, str, int]) -> None:
    """Drop a run's earlier adapters, but for their hashes, and the server's memory."""
    connection.execute(_SHED, place)
    connection.execute(_SHED_MOMENTS, place)
