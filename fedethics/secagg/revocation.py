"""Signed notices that a public key must not be believed any more.

A site takes a notice from two signers only: the key itself (its holder lost control of it), or the
site's own identity (its officers decided so). The coordinator and the other members cannot revoke
anyone, or they could thin out a cohort.

Keys that a site no longer trusts, and the versions of charters that it has seen.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedethics import canonical
from fedethics.errors import CharterError, SecaggReject
from fedethics.identity import Identity, verify
from fedethics.secagg.terms import is_hash

PURPOSE = "secagg/revocation/1"
MAX_REASON_CHARACTERS = 200
_MAX_NOTICE_BYTES = 4096
_SIGNATURE = re.compile(r"[0-9a-f]{128}")
_FIELDS = {"key", "reason", "signer", "signature"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """A verified notice: `key` is revoked, by `signer`, for `reason`."""

    key: str
    reason: str
    signer: str


def revocation_notice(identity: Identity, *, key: str, reason: str) -> bytes:
    """Return a signed notice that `key` is revoked.

    Args:
        identity: who revokes: the holder of `key`, or the site that will take the notice.
        key: the public key, 64 lower-case hex digits.
        reason: for people, at most 200 printable characters; other sites may read it.

    Raises:
        SecaggReject: `key` or `reason` has another form.
    """
    fields: dict[str, Any] = {"key": key, "reason": reason, "signer": identity.public_key}
    _check(fields)
    signature = identity.sign(canonical.encode(fields), purpose=PURPOSE)
    return canonical.encode(fields | {"signature": signature.hex()})


def read_notice(notice: bytes, *, own_key: str) -> Notice:
    """Return a notice if the revoked key or `own_key` signed it.

    Raises:
        SecaggReject: malformed, signed by someone else, or not genuine.
    """
    fields = _parse(notice)
    signature = fields.pop("signature")
    if not isinstance(signature, str) or _SIGNATURE.fullmatch(signature) is None:
        raise SecaggReject("revocation: the signature is malformed")
    _check(fields)
    if fields["signer"] not in {fields["key"], own_key}:
        raise SecaggReject(
            "revocation: only the key itself or this site's own identity can revoke a key here; "
            "nothing was revoked"
        )
    signed, spelled = bytes.fromhex(signature), canonical.encode(fields)
    if not verify(fields["signer"], spelled, signed, purpose=PURPOSE):
        raise SecaggReject("revocation: the signature is not that of its signer")
    return Notice(key=fields["key"], reason=fields["reason"], signer=fields["signer"])


def _parse(notice: bytes) -> dict[str, Any]:
    if len(notice) > _MAX_NOTICE_BYTES:
        raise SecaggReject(f"revocation of {len(notice)} bytes is too long")
    try:
        fields = canonical.parse(notice)
    except (ValueError, RecursionError) as error:
        raise SecaggReject("revocation: not canonical JSON") from error
    if not isinstance(fields, dict) or fields.keys() != _FIELDS:
        raise SecaggReject("revocation: unknown or missing fields")
    return fields


def _check(fields: dict[str, Any]) -> None:
    reason = fields["reason"]
    if not is_hash(fields["key"]) or not is_hash(fields["signer"]):
        raise SecaggReject("revocation: a key is not 64 lower-case hex digits")
    if not isinstance(reason, str) or not reason.isprintable():
        raise SecaggReject("revocation: the reason is not printable text")
    if not 0 < len(reason) <= MAX_REASON_CHARACTERS:
        raise SecaggReject(f"revocation: the reason needs 1 to {MAX_REASON_CHARACTERS} characters")


class TrustRecords:
    """The reads and writes about keys inside one step; what is stored here is never deleted."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def is_revoked(self, key: str) -> bool:
        """Say whether a public key was revoked here."""
        row = self._connection.execute("SELECT 1 FROM revoked WHERE key = ?", (key,)).fetchone()
        return row is not None

    def revoke(self, key: str, *, at_s: int, reason: str, notice: bytes = b"") -> bool:
        """Revoke a public key permanently; return whether it was trusted until now.

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
        member that left is only absent.

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
