"""Whom a site no longer believes: revoked keys, and the versions of charters that it has seen."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping

from fedethics import canonical
from fedethics.errors import CharterError


class TrustRecords:
    """The reads and writes about keys inside one step; what stands here is never deleted."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def is_revoked(self, key: str) -> bool:
        """Say whether a public key was revoked here."""
        row = self._connection.execute("SELECT 1 FROM revoked WHERE key = ?", (key,)).fetchone()
        return row is not None

    def revoke(self, key: str, *, at_s: int, reason: str, notice: bytes = b"") -> bool:
        """Revoke a public key for good; return whether it was trusted until now.

        Args:
            key: 64 hex digits.
            at_s: when, in seconds since 1970.
            reason: for people.
            notice: the signed notice, if there is one.
        """
        inserted = self._connection.execute(
            "INSERT OR IGNORE INTO revoked VALUES (?, ?, ?, ?)", (key, at_s, reason, notice)
        )
        return inserted.rowcount > 0

    def revoked_keys(self) -> dict[str, str]:
        """Return every revoked key -> why."""
        rows = self._connection.execute("SELECT key, reason FROM revoked ORDER BY at_s, key")
        return dict(rows.fetchall())

    def adopt_charter(
        self, name: str, version: int, members: Mapping[str, str], *, now_s: float
    ) -> bool:
        """Remember a version of a charter; return whether it revoked a key.

        A member whose key differs from that of the version before has changed it: the old key is
        revoked, unless the new version names it under another name: then the member was renamed. A
        member that left is merely absent.

        Raises:
            CharterError: a later version was adopted before.
        """
        row = self._connection.execute(
            "SELECT version, members FROM charters WHERE name = ?", (name,)
        ).fetchone()
        last, known = (0, {}) if row is None else (row[0], json.loads(row[1]))
        if version < last:
            raise CharterError(
                f"charter {name!r} is version {version}; this site took part under version {last}, "
                "which replaced it. No key was announced. Use the latest version"
            )
        if version == last:
            return False
        self._connection.execute(
            "INSERT OR REPLACE INTO charters VALUES (?, ?, ?)",
            (name, version, canonical.encode(dict(members)).decode()),
        )
        reason = f"replaced in version {version} of charter {name!r}"
        named = set(members.values())
        changed = [
            key
            for member, key in known.items()
            if members.get(member, key) != key and key not in named
        ]
        return any([self.revoke(key, at_s=int(now_s), reason=reason) for key in changed])
