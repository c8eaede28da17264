"""Signed notices that a public key must not be believed any more.

A site takes a notice from two signers only: the key itself (its holder lost control of it), or the
site's own identity (its officers decided so). The coordinator and the other members cannot revoke
anyone, or they could thin out a cohort.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from fedethics import canonical
from fedethics.errors import SecaggReject
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
