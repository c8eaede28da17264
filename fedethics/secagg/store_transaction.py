"""The reads and writes of one step of a site, all inside one transaction."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Sequence

from fedethics import canonical
from fedethics.secagg.framing import Kind
from fedethics.secagg.revocation import TrustRecords
from fedethics.secagg.sharing import SessionSecrets
from fedethics.secagg.site_state import (
    EpochState,
    SessionStage,
    SessionState,
    read_session,
    read_session_secrets,
    spell_session_secrets,
)


class StoreTransaction:
    """What a site may read from and write to its store during one step."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @property
    def trust(self) -> TrustRecords:
        """Revoked keys and adopted charters."""
        return TrustRecords(self._connection)

    # Epochs

    def epoch(self, charter: str, epoch: str) -> EpochState | None:
        """Return an announced or joined epoch whose secrets are still held."""
        row = self._one(
            "SELECT run, attempt, announcement, epoch_hash, acknowledgement, counter, round, "
            "expires_s, secrets FROM epochs WHERE charter = ? AND epoch = ?",
            (charter, epoch),
        )
        if row is None:
            return None
        run, attempt, announcement, epoch_hash, acknowledgement, *numbers, secrets = row
        counter, round_number, expires_s = numbers
        public = EpochState(
            epoch=epoch,
            run=run,
            attempt=attempt,
            announcement=announcement,
            private_keys=None,
            epoch_hash=epoch_hash,
            acknowledgement=acknowledgement,
            counter=counter,
            round_number=round_number,
            expires_s=expires_s,
            roots={},
        )
        return public.with_secrets(secrets)

    def save_epoch(self, charter: str, state: EpochState) -> None:
        """Write an epoch, replacing what was known of it."""
        self._connection.execute(
            "INSERT OR REPLACE INTO epochs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                charter,
                state.epoch,
                state.run,
                state.attempt,
                state.announcement,
                state.epoch_hash,
                state.acknowledgement,
                state.counter,
                state.round_number,
                state.expires_s,
                state.spell_secrets(),
            ),
        )

    def last_attempt(self, charter: str, run: str) -> int:
        """Return the highest attempt of a run that was ever joined or burnt; -1 if none."""
        row = self._one(
            "SELECT attempt FROM attempts WHERE charter = ? AND run = ?", (charter, run)
        )
        return -1 if row is None else row[0]

    def use_attempt(self, charter: str, run: str, attempt: int) -> None:
        """Note that this attempt was used, and wipe all earlier ones and their sessions.

        A session that was revealed holds no secret any more and opens no second time: it stays, so
        that its answer can be repeated and its RESULT taken after the coordinator came back.
        """
        self._connection.execute(
            "INSERT OR REPLACE INTO attempts VALUES (?, ?, ?)", (charter, run, attempt)
        )
        self._connection.execute(
            "DELETE FROM epochs WHERE charter = ? AND run = ? AND attempt < ?",
            (charter, run, attempt),
        )
        self._abandon("charter = ? AND run = ? AND stage != 'revealed'", (charter, run))

    def burn_epoch(self, charter: str, state: EpochState) -> None:
        """Give an epoch up permanently: its keys go, and its attempt cannot be announced again."""
        self.use_attempt(charter, state.run, state.attempt)
        self.delete_epoch(charter, state.epoch)

    def delete_epoch(self, charter: str, epoch: str) -> None:
        """Delete the keys of an epoch."""
        self._connection.execute(
            "DELETE FROM epochs WHERE charter = ? AND epoch = ?", (charter, epoch)
        )

    def delete_expired_epochs(self, now_s: float) -> None:
        """Delete the keys of every epoch that can open no session any more."""
        if self._one("SELECT 1 FROM epochs WHERE expires_s <= ?", (now_s,)):
            self._connection.execute("DELETE FROM epochs WHERE expires_s <= ?", (now_s,))

    # Sessions

    def session(self, session_id: str) -> SessionState | None:
        """Return what is known of a session, closed ones included."""
        row = self._one("SELECT state, stage FROM sessions WHERE session = ?", (session_id,))
        return None if row is None else read_session(row[0], row[1])

    def save_session(self, charter: str, state: SessionState) -> None:
        """Write the public part of a session."""
        opening = state.opening
        self._connection.execute(
            "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                opening.session_id,
                charter,
                opening.run,
                opening.aggregate,
                opening.round_number,
                state.stage,
                state.spell(),
            ),
        )

    def abandon_aggregate(self, charter: str, run: str, aggregate: str) -> None:
        """Wipe every session of an aggregate in which nothing was revealed yet."""
        self._abandon(
            "charter = ? AND run = ? AND task = ? AND stage != 'revealed'",
            (charter, run, aggregate),
        )

    def close_session(self, session_id: str, stage: SessionStage) -> None:
        """Put a session into a closed stage and wipe what it held."""
        self._connection.execute(
            "UPDATE sessions SET stage = ? WHERE session = ?", (stage, session_id)
        )
        for table in ("secrets", "vectors", "replies"):
            self._connection.execute(
                f"DELETE FROM {table} WHERE session = ?",  # noqa: S608
                (session_id,),
            )

    # Secrets

    def secrets(self, session_id: str) -> SessionSecrets | None:
        """Sensitive: return the secrets of a session, or None once they were wiped."""
        row = self._one("SELECT secrets FROM secrets WHERE session = ?", (session_id,))
        return None if row is None else read_session_secrets(row[0])

    def save_secrets(self, session_id: str, secrets: SessionSecrets) -> None:
        """Write the secrets of a session."""
        self._connection.execute(
            "INSERT OR REPLACE INTO secrets VALUES (?, ?)",
            (session_id, spell_session_secrets(secrets)),
        )

    def wipe_secrets(self, session_id: str) -> None:
        """Delete the secrets of a session."""
        self._connection.execute("DELETE FROM secrets WHERE session = ?", (session_id,))

    def vector(self, session_id: str) -> bytes | None:
        """Return the words of a session's vector, under masks: all of them once MASKED was sent."""
        row = self._one("SELECT words FROM vectors WHERE session = ?", (session_id,))
        return None if row is None else row[0]

    def save_vector(self, session_id: str, words: bytes | memoryview) -> None:
        """Write the words of a vector, which carry the site's own mask at least."""
        self._connection.execute(
            "INSERT OR REPLACE INTO vectors VALUES (?, ?)", (session_id, words)
        )

    # Replies: a message that comes twice is answered twice with the same bytes

    def reply(self, session_id: str, kind: Kind) -> tuple[bytes, bytes] | None:
        """Return (request, reply) of an answer of `kind` given in this session."""
        return self._one(
            "SELECT request, reply FROM replies WHERE session = ? AND kind = ?",
            (session_id, int(kind)),
        )

    def save_reply(self, session_id: str, kind: Kind, *, request: bytes, reply: bytes) -> None:
        """Remember an answer before it leaves."""
        self._connection.execute(
            "INSERT INTO replies VALUES (?, ?, ?, ?)", (session_id, int(kind), request, reply)
        )

    def wipe_sent(self, session_id: str) -> None:
        """Forget the answers given in a session, the masked vector too."""
        # They were sent, so their pages need no overwriting: 4 ms less for a vector of 4 MB.
        self._connection.execute("PRAGMA secure_delete = OFF")
        for table in ("replies", "vectors"):
            self._connection.execute(
                f"DELETE FROM {table} WHERE session = ?",  # noqa: S608
                (session_id,),
            )
        self._connection.execute("PRAGMA secure_delete = ON")

    # Rounds and lies: these outlive every session

    def verdict(self, charter: str, run: str, aggregate: str, round_number: int) -> str | None:
        """Return "opened", "refused" or None for a round of an aggregate."""
        row = self._one(
            "SELECT verdict FROM rounds WHERE charter = ? AND run = ? AND task = ? AND round = ?",
            (charter, run, aggregate, round_number),
        )
        return None if row is None else row[0]

    def close_round(
        self, charter: str, session: SessionState, verdict: str, *, survivors: Sequence[str]
    ) -> None:
        """Write, permanently, that a round was opened or refused."""
        opening = session.opening
        self._connection.execute(
            "INSERT OR IGNORE INTO rounds "
            "(charter, run, task, round, verdict, cohort, survivors, session) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                charter,
                opening.run,
                opening.aggregate,
                opening.round_number,
                verdict,
                canonical.encode(list(opening.cohort)).decode(),
                canonical.encode(list(survivors)).decode(),
                opening.session_id,
            ),
        )

    def opened_cohorts(self, charter: str, run: str, aggregate: str) -> list[frozenset[str]]:
        """Return every cohort over which this aggregate was opened in this run."""
        rows = self._connection.execute(
            "SELECT DISTINCT cohort FROM rounds WHERE charter = ? AND run = ? AND task = ? "
            "AND verdict = 'opened'",
            (charter, run, aggregate),
        )
        return [frozenset(json.loads(cohort)) for (cohort,) in rows]

    def record_lie(
        self, charter: str, *, signer: str, reason: str, message: bytes, earlier: bytes = b""
    ) -> None:
        """Keep a lie with the signed message that proves it; the same message counts once."""
        digest = hashlib.sha256(message).hexdigest()
        self._connection.execute(
            "INSERT OR IGNORE INTO evidence "
            "(at_s, charter, signer, reason, message, earlier, digest) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (int(time.time()), charter, signer, reason, message, earlier, digest),
        )

    def wipe_everything(self) -> None:
        """Delete all pending secrets and close every session."""
        self._connection.execute("DELETE FROM epochs")
        self._abandon("1 = ?", (1,))

    def _abandon(self, condition: str, values: tuple[object, ...]) -> None:
        # `condition` is one of the literals above, never input.
        pending = "stage NOT IN ('finished', 'aborted', 'abandoned')"
        query = f"SELECT session FROM sessions WHERE {pending} AND {condition}"  # noqa: S608
        rows = self._connection.execute(query, values).fetchall()
        for (session_id,) in rows:
            self.close_session(session_id, "abandoned")

    def _one(self, query: str, values: tuple[object, ...]) -> tuple | None:  # type: ignore[type-arg]
        row: tuple | None = self._connection.execute(query, values).fetchone()  # type: ignore[type-arg]
        return row
