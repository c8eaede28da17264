"""One frame for every message: magic | version | kind | header length | header | body | signature.

The header is a canonical JSON object, the body raw bytes. The Ed25519 signature covers everything
before the body and the body's tree hash, so a large vector is hashed once and a slice of it can
later be checked on its own.

Paths in the tree of `tree_hash`: one leaf of a vector, checked without the others.

Source: RFC 9162, sections 2.1.1 and 2.1.3.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from fedethics import canonical
from fedethics.errors import SecaggReject
from fedethics.identity import Identity, verify

MAGIC = b"FES"
VERSION = 1
PURPOSE = "secagg/fes/1"
LEAF_BYTES = 1 << 16
MAX_HEADER_BYTES = 1 << 20
SIGNATURE_BYTES = 64
HASH_BYTES = 32

_PREFIX = struct.Struct(">3sBBI")
_LENGTH = struct.Struct(">I")


class Kind(IntEnum):
    """The messages of the protocol; JOINED travels after EPOCH_ACK, the last three after RESULT."""

    EPOCH = 1
    ROSTER = 2
    EPOCH_ACK = 3
    OPEN = 4
    SHARE = 5
    FORWARD = 6
    MASKED = 7
    SURVIVORS = 8
    CONFIRM = 9
    PROOF = 10
    REVEAL = 11
    RESULT = 12
    JOINED = 13
    SLICE_REQUEST = 14
    SLICE = 15
    CHECKED = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """A message taken apart; nothing in it is believed until `is_signed_by` says so."""

    kind: Kind
    header: Mapping[str, Any]
    body: memoryview
    root: bytes
    raw: bytes

    @property
    def signature(self) -> bytes:
        """The last 64 bytes; once verified, they stand for the whole frame."""
        return self.raw[-SIGNATURE_BYTES:]

    def is_signed_by(self, public_key: str) -> bool:
        """Say whether the holder of `public_key` signed this frame."""
        start = len(self.raw) - SIGNATURE_BYTES
        signed = self.raw[: start - len(self.body)] + self.root
        return verify(public_key, signed, self.raw[start:], purpose=PURPOSE)


def encode(
    kind: Kind,
    header: dict[str, canonical.Json],
    body: bytes | memoryview = b"",
    *,
    identity: Identity,
    root: bytes | None = None,
) -> bytes:
    """Return the signed frame of `kind`; `root` is the body's tree hash, if already known."""
    spelled = canonical.encode(header)
    head = _PREFIX.pack(MAGIC, VERSION, kind, len(spelled)) + spelled
    signature = identity.sign(head + (root or tree_hash(body)), purpose=PURPOSE)
    return b"".join((head, body, signature))


def decode(message: bytes, *, kind: Kind, max_body_bytes: int) -> Frame:
    """Take `message` apart without believing it.

    Raises:
        SecaggReject: not a frame, another version or kind, too large, or not canonical.
    """
    least = _PREFIX.size + SIGNATURE_BYTES
    if not least <= len(message) <= least + MAX_HEADER_BYTES + max_body_bytes:
        raise SecaggReject(f"{kind.name} message of {len(message)} bytes has an impossible size")
    magic, version, number, header_bytes = _PREFIX.unpack_from(message)
    if (magic, version, number) != (MAGIC, VERSION, kind):
        raise SecaggReject(f"not a {kind.name} message of protocol fes/{VERSION}")
    start = _PREFIX.size + header_bytes
    end = len(message) - SIGNATURE_BYTES
    if header_bytes > MAX_HEADER_BYTES or not 0 <= end - start <= max_body_bytes:
        raise SecaggReject(f"{kind.name} message: header and body do not fit the message")
    header = _header(message[_PREFIX.size : start], kind)
    body = memoryview(message)[start:end]
    return Frame(kind=kind, header=header, body=body, root=tree_hash(body), raw=message)


def detach(frame: Frame) -> bytes:
    """Return `frame` with its body's root in the body's place; the signature still verifies."""
    return without_body(frame.raw, body_bytes=len(frame.body), root=frame.root)


def without_body(message: bytes, *, body_bytes: int, root: bytes) -> bytes:
    """Return `message` with the root in the place of its body."""
    end = len(message) - SIGNATURE_BYTES
    return message[: end - body_bytes] + root + message[end:]


def with_body(detached: bytes, body: bytes | memoryview) -> bytes:
    """Return what `without_body` was made from."""
    start = len(detached) - SIGNATURE_BYTES - HASH_BYTES
    return b"".join((detached[:start], body, detached[start + HASH_BYTES :]))


def decode_detached(detached: bytes, *, kind: Kind) -> Frame:
    """Take apart what `detach` returned: a frame with a root and without a body.

    Raises:
        SecaggReject: see `decode`.
    """
    frame = decode(detached, kind=kind, max_body_bytes=HASH_BYTES)
    if len(frame.body) != HASH_BYTES:
        raise SecaggReject(f"{kind.name} message: the root in the body's place is not a hash")
    head = detached[: len(detached) - SIGNATURE_BYTES - HASH_BYTES]
    raw, root = head + frame.signature, bytes(frame.body)
    return replace(frame, body=memoryview(b""), root=root, raw=raw)


def tree_hash(data: bytes | memoryview) -> bytes:
    """Return the Merkle root of `data` cut into 64 KiB leaves (RFC 9162, section 2.1.1).

    An empty body is one empty leaf.
    """
    view = memoryview(data)
    starts = range(0, max(len(view), 1), LEAF_BYTES)
    level = [_sha256(b"\x00", view[start : start + LEAF_BYTES]) for start in starts]
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        alone = level[-1:] if len(level) % 2 else []
        level = [_sha256(b"\x01" + left, right) for left, right in pairs] + alone
    return level[0]


def pack(parts: Iterable[bytes]) -> bytes:
    """Join byte strings, each behind its 4-byte length."""
    return b"".join(_LENGTH.pack(len(part)) + part for part in parts)


def unpack(body: memoryview) -> list[bytes]:
    """Take apart what `pack` joined.

    Raises:
        SecaggReject: the lengths do not add up.
    """
    parts: list[bytes] = []
    position = 0
    while position < len(body):
        start = position + _LENGTH.size
        if start > len(body):
            raise SecaggReject("a list in a message body is cut short")
        (size,) = _LENGTH.unpack_from(body, position)
        position = start + size
        if position > len(body):
            raise SecaggReject("a list in a message body is cut short")
        parts.append(bytes(body[start:position]))
    return parts


def records(body: memoryview, *, record_bytes: int, count: int) -> list[bytes]:
    """Cut a body into `count` records of one size.

    Raises:
        SecaggReject: the body has another size.
    """
    if len(body) != record_bytes * count:
        raise SecaggReject(
            f"a message body has {len(body)} bytes where {count} records of {record_bytes} belong"
        )
    return [bytes(body[k * record_bytes : (k + 1) * record_bytes]) for k in range(count)]


def _header(spelled: bytes, kind: Kind) -> Mapping[str, Any]:
    try:
        header = canonical.parse(spelled)
    except ValueError as error:
        raise SecaggReject(f"{kind.name} message: the header is not canonical JSON") from error
    if not isinstance(header, dict):
        raise SecaggReject(f"{kind.name} message: the header is not an object")
    return header


def _sha256(prefix: bytes, data: bytes | memoryview) -> bytes:
    digest = hashlib.sha256(prefix)
    digest.update(data)
    return digest.digest()


def leaf_count(body_bytes: int) -> int:
    """Return how many leaves a body has; an empty one has one."""
    return max(1, -(-body_bytes // LEAF_BYTES))


def leaf_hash(leaf: bytes | memoryview) -> bytes:
    """Return the hash of a leaf."""
    return _sha256(b"\x00", leaf)


def leaf_hashes(body: bytes | memoryview) -> list[bytes]:
    """Return the hash of each leaf of a body."""
    view = memoryview(body)
    starts = range(0, max(len(view), 1), LEAF_BYTES)
    return [leaf_hash(view[start : start + LEAF_BYTES]) for start in starts]


def inclusion_path(hashes: Sequence[bytes], index: int) -> bytes:
    """Return the siblings on the way from leaf `index` to the root, lowest first."""
    siblings: list[bytes] = []
    level = list(hashes)
    while len(level) > 1:
        if index ^ 1 < len(level):
            siblings.append(level[index ^ 1])
        pairs = zip(level[::2], level[1::2], strict=False)
        alone = level[-1:] if len(level) % 2 else []
        level = [_sha256(b"\x01" + left, right) for left, right in pairs] + alone
        index //= 2
    return b"".join(siblings)


def path_bytes(index: int, count: int) -> int:
    """Return the size of the path of leaf `index` among `count`."""
    size = 0
    while count > 1:
        size += HASH_BYTES if index ^ 1 < count else 0
        index, count = index // 2, (count + 1) // 2
    return size


def root_above(leaf: bytes | memoryview, path: bytes, *, index: int, count: int) -> bytes:
    """Return the root that a leaf and its path lead to; `path` has the size of `path_bytes`."""
    node, position = leaf_hash(leaf), 0
    while count > 1:
        if index ^ 1 < count:
            sibling = path[position : position + HASH_BYTES]
            left, right = (sibling, node) if index % 2 else (node, sibling)
            node = _sha256(b"\x01" + left, right)
            position += HASH_BYTES
        index, count = index // 2, (count + 1) // 2
    return node
