"""Noised answers that have not been opened yet: each is drawn once and sent again as it is.

A sum that fell through is asked for again, in the same run or after a restart. Drawing fresh noise
would cost budget a second time and, averaged, weaken the noise; the same noised vector under fresh
masks does neither, since it is one release however often it is sent.

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

import numpy as np
from numpy.typing import NDArray

from fedethics.errors import LedgerError

_TABLE = """CREATE TABLE IF NOT EXISTS answers (
    charter TEXT, run TEXT, task TEXT, round INTEGER, model TEXT, words BLOB NOT NULL,
    PRIMARY KEY (charter, run, task, round, model))"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What an answer belongs to; another model or round is another question."""

    charter_hash: str
    run: str
    task: str
    round_number: int
    model_hash: str


@dataclass(frozen=True, slots=True)
class Answers:
    """The site's pending answers, in one SQLite file."""

    path: Path

    def find(self, question: Question) -> NDArray[np.int64] | None:
        """Return the answer already drawn for `question`, shape (length,), or None."""
        with self._open() as connection:
            row = connection.execute(
                "SELECT words FROM answers WHERE charter = ? AND run = ? AND task = ? "
                "AND round = ? AND model = ?",
                _key(question),
            ).fetchone()
        return None if row is None else np.frombuffer(row[0], dtype="<i8").astype(np.int64)

    def keep(self, question: Question, vector: NDArray[np.int64]) -> None:
        """Write an answer durably, before anything made of it leaves."""
        words = vector.astype("<i8").tobytes()
        with self._open() as connection:
            connection.execute(
                "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?)", (*_key(question), words)
            )

    def forget(self, *, run: str, task: str, round_number: int) -> None:
        """Delete the answers to one sum: it was opened and is never asked for again."""
        with self._open() as connection:
            connection.execute(
                "DELETE FROM answers WHERE run = ? AND task = ? AND round = ?",
                (run, task, round_number),
            )

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            if not self.path.exists():
                os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600))
            with closing(sqlite3.connect(self.path, timeout=30.0)) as connection:
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA secure_delete = ON")
                with connection:
                    connection.execute(_TABLE)
                    yield connection
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(f"{self.path} cannot be used ({error}); nothing was sent") from error


def _key(question: Question) -> tuple[str, str, str, int, str]:
    return (
        question.charter_hash,
        question.run,
        question.task,
        question.round_number,
        question.model_hash,
    )
