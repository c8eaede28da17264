"""Paths in the tree of `framing.tree_hash`: one leaf of a vector, checked without the others.

Source: RFC 9162, sections 2.1.1 and 2.1.3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from fedethics.secagg.framing import HASH_BYTES, LEAF_BYTES


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


def _sha256(prefix: bytes, data: bytes | memoryview) -> bytes:
    digest = hashlib.sha256(prefix)
    digest.update(data)
    return digest.digest()
