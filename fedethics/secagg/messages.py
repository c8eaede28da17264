"""The fields of each message, and the one function that admits every message.

The sender: a member's name, key and terms, and the signing of its messages.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

from fedethics.errors import SecaggReject
from fedethics.identical import Same
from fedethics.identity import Identity
from fedethics.secagg import framing
from fedethics.secagg.framing import Frame, Kind
from fedethics.secagg.graph import RING_NONCE_BYTES
from fedethics.secagg.terms import COORDINATOR, MAX_SITES, SecaggTerms, is_hash, is_name

SITE_KINDS: Final = frozenset(
    {
        Kind.EPOCH,
        Kind.EPOCH_ACK,
        Kind.SHARE,
        Kind.MASKED,
        Kind.CONFIRM,
        Kind.REVEAL,
        Kind.SLICE_REQUEST,
        Kind.CHECKED,
    }
)
# A CONFIRM message, and an EPOCH message but for its keys, is under 1 KiB whatever its names;
# lists of them are bounded by it.
LISTED_MESSAGE_BYTES: Final = 1 << 10
# Short messages that were found genuine and are remembered, by their bytes.
_LISTED_BYTES: Final = 4 * LISTED_MESSAGE_BYTES
_REMEMBERED: Final = 4096
_HEX = re.compile(r"[0-9a-f]*")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def _is_time(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _is_names(value: object) -> bool:
    return (
        isinstance(value, list)
        and 0 < len(value) <= MAX_SITES
        and all(is_name(name) for name in value)
        and all(left < right for left, right in pairwise(value))
    )


def _is_hashes(value: object) -> bool:
    return isinstance(value, list) and all(is_hash(item) for item in value)


def _is_leaves(value: object) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(_is_count(leaf) for leaf in value)
        and all(left < right for left, right in pairwise(value))
    )


def _is_hex(value: object) -> bool:
    return isinstance(value, str) and _HEX.fullmatch(value) is not None


def _is_epoch(value: object) -> bool:
    if not isinstance(value, str):
        return False
    run, slash, attempt = value.rpartition("/")
    number = attempt.isascii() and attempt.isdigit() and len(attempt) <= 9
    return bool(slash) and is_name(run) and number and str(int(attempt)) == attempt


_Check = Callable[[object], bool]
_SESSION: Final[dict[str, _Check]] = {"session": is_hash}
_FIELDS: Final[Mapping[Kind, dict[str, _Check]]] = {
    Kind.EPOCH: {
        "epoch": _is_epoch,
        "suite": _is_count,
        "mask_key": _is_hex,
        "channel_key": _is_hex,
        "expires_s": _is_time,
    },
    Kind.ROSTER: {"epoch": _is_epoch},
    Kind.EPOCH_ACK: {"epoch": _is_epoch, "epoch_hash": is_hash},
    Kind.JOINED: {
        "epoch": _is_epoch,
        "epoch_hash": is_hash,
        "recipient": is_name,
        "joined": _is_names,
    },
    # `task` is the name of the aggregate, on the wire and in stored messages.
    Kind.OPEN: {
        "suite": _is_count,
        "graph": is_name,
        "mode": is_name,
        "epoch": _is_epoch,
        "epoch_hash": is_hash,
        "counter": _is_count,
        "run": is_name,
        "task": is_name,
        "round": _is_count,
        "cohort": _is_names,
        "threshold": _is_count,
        "spec_hash": is_hash,
        "model_hash": is_hash,
        "nonce": is_hash,
    },
    Kind.SHARE: _SESSION | {"seed_commitment": is_hash, "key_commitment": is_hash},
    Kind.FORWARD: _SESSION | {"recipient": is_name, "shared": _is_names},
    Kind.MASKED: _SESSION | {"shared_hash": is_hash},
    Kind.SURVIVORS: _SESSION
    | {"shared_hash": is_hash, "survivors": _is_names, "roots": _is_hashes},
    Kind.CONFIRM: _SESSION | {"view": is_hash},
    Kind.PROOF: _SESSION | {"view": is_hash},
    Kind.REVEAL: _SESSION | {"view": is_hash},
    Kind.RESULT: _SESSION | {"survivors": _is_names},
    Kind.SLICE_REQUEST: _SESSION | {"leaves": _is_leaves},
    Kind.CHECKED: _SESSION
    | {
        "run": is_name,
        "task": is_name,
        "round": _is_count,
        "survivors": is_hash,
        "total": is_hash,
    },
    Kind.SLICE: _SESSION | {"recipient": is_name, "leaves": _is_leaves},
}
# Where the epoch draws a ring order, these come on top.
_RING_FIELDS: Final[Mapping[Kind, dict[str, _Check]]] = {
    Kind.EPOCH: {"ring_commitment": is_hash},
    Kind.EPOCH_ACK: {"ring_nonce": is_hash},
}


def receive(message: bytes, *, kind: Kind, terms: SecaggTerms, max_body_bytes: int = 0) -> Frame:
    """Decode a message, check each field's form, its charter, its sender and its signature.

    Guarantee: what comes back was signed, as this kind and under this charter, by the member that
    its `sender` names; and that member may send this kind.

    Raises:
        SecaggReject: anything else. Since anyone may have written such bytes, nobody is blamed.
    """
    if len(message) <= _LISTED_BYTES:
        return _received(message, kind, max_body_bytes, Same(terms))
    frame = framing.decode(message, kind=kind, max_body_bytes=max_body_bytes)
    _check(frame, terms)
    return frame


@lru_cache(maxsize=_REMEMBERED)
def _received(message: bytes, kind: Kind, max_body_bytes: int, terms: Same[SecaggTerms]) -> Frame:
    """Do `receive` once for the same bytes under the same terms: the answer follows from them.

    Sites that one process simulates all check the announcements and statements of all others.
    """
    frame = framing.decode(message, kind=kind, max_body_bytes=max_body_bytes)
    _check(frame, terms.value)
    return frame


def receive_detached(detached: bytes, *, kind: Kind, terms: SecaggTerms) -> Frame:
    """Do as `receive` for a message whose body was replaced by its root.

    Raises:
        SecaggReject: see `receive`.
    """
    return _received_detached(detached, kind, Same(terms))


@lru_cache(maxsize=_REMEMBERED)
def _received_detached(detached: bytes, kind: Kind, terms: Same[SecaggTerms]) -> Frame:
    frame = framing.decode_detached(detached, kind=kind)
    _check(frame, terms.value)
    return frame


def _check(frame: Frame, terms: SecaggTerms) -> None:
    kind = frame.kind
    checks: dict[str, _Check] = {"charter": is_hash, "sender": is_name} | _FIELDS[kind]
    if terms.draws_ring:
        checks |= _RING_FIELDS.get(kind, {})
    if terms.recovery == "classic" and kind is Kind.SHARE:
        checks["mask_key"] = is_hash
    if frame.header.keys() != checks.keys():
        raise SecaggReject(f"{kind.name} message: unknown or missing fields")
    for field, check in checks.items():
        if not check(frame.header[field]):
            raise SecaggReject(f"{kind.name} message: field {field} is malformed")
    if kind is Kind.EPOCH:
        _check_keys(frame, terms)
    if frame.header["charter"] != terms.charter_hash:
        raise SecaggReject(
            f"{kind.name} message is for another charter "
            f"({frame.header['charter'][:12]}, here {terms.charter_hash[:12]}); nothing was done"
        )
    if not frame.is_signed_by(_sender_key(frame, terms)):
        raise SecaggReject(
            f"{kind.name} message: the signature is not that of {frame.header['sender']}"
        )


def parse_epoch(epoch: str) -> tuple[str, int]:
    """Split an epoch id, "<run>/<attempt>".

    Raises:
        SecaggReject: any other form.
    """
    if not _is_epoch(epoch):
        raise SecaggReject(f"epoch id {epoch!r} is not '<run>/<attempt>'")
    run, _, attempt = epoch.rpartition("/")
    return run, int(attempt)


def roster_bytes(terms: SecaggTerms) -> int:
    """Return the most bytes that the bundles in a ROSTER can have."""
    keys = 2 * 2 * terms.key_agreement.public_bytes  # two, in hex
    return (LISTED_MESSAGE_BYTES + keys) * len(terms.roster)


def joined_bytes(terms: SecaggTerms) -> int:
    """Return the most bytes that the body of an EPOCH_ACK or a JOINED can have."""
    nonce = RING_NONCE_BYTES if terms.draws_ring else 0
    return (nonce + 2 * terms.key_agreement.ciphertext_bytes) * len(terms.roster)


def _check_keys(frame: Frame, terms: SecaggTerms) -> None:
    for field in ("mask_key", "channel_key"):
        if len(frame.header[field]) != 2 * terms.key_agreement.public_bytes:
            raise SecaggReject(f"EPOCH message: field {field} is malformed")


def _sender_key(frame: Frame, terms: SecaggTerms) -> str:
    sender: str = frame.header["sender"]
    if frame.kind not in SITE_KINDS:
        if sender != COORDINATOR:
            raise SecaggReject(f"{frame.kind.name} message comes from {sender}, a site")
        return terms.coordinator_key
    if sender not in terms.roster:
        raise SecaggReject(f"{frame.kind.name} message: {sender!r} is not in the roster")
    return terms.roster[sender]


Clock = Callable[[], float]
SYSTEM_CLOCK: Final[Clock] = time.time


@dataclass(frozen=True, kw_only=True, slots=True)
class Party:
    """A site or the coordinator, under one charter; `now_s` gives seconds since 1970."""

    name: str
    identity: Identity
    terms: SecaggTerms
    random_bytes: Callable[[int], bytes]
    now_s: Clock = SYSTEM_CLOCK

    def message(
        self,
        kind: Kind,
        body: bytes | memoryview = b"",
        *,
        root: bytes | None = None,
        **fields: object,
    ) -> bytes:
        """Return a signed message of this member; `root` is the body's tree hash, if known."""
        header: dict[str, Any] = {"charter": self.terms.charter_hash, "sender": self.name, **fields}
        return framing.encode(kind, header, body, identity=self.identity, root=root)
