"""Canonical bytes: one spelling for each document, so that hashes and signatures mean something.

Guarantee: equal documents give equal bytes on every machine; `parse` refuses any other spelling.
The form is JSON with sorted keys, no spaces, UTF-8, finite numbers, and str keys only (in the
manner of RFC 8785; numbers are spelled by Python's shortest round-trip repr).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from typing import Any, TypeAlias

_SPELLED = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)
# Types that have one spelling whatever their value. Rosters are long lists of them.
_PLAIN = frozenset({str, int, bool, type(None)})
Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None


def encode(document: Json) -> bytes:
    """Return the one canonical spelling of `document`.

    Raises:
        ValueError: a non-finite number, a key that is not a string, or a type JSON lacks.
    """
    _check(document)
    return _SPELLED.encode(document).encode("utf-8")


def parse(data: bytes) -> Json:
    """Return the document that `data` spells canonically.

    Raises:
        ValueError: not JSON, duplicate keys, a spelling other than the canonical one, or tables in
            tables to a depth that no document of ours has.
    """
    try:
        document: Json = json.loads(data.decode("utf-8"), object_pairs_hook=_unique)
        # What JSON gives has no other types or keys, and infinite numbers have no spelling.
        spelled = _SPELLED.encode(document).encode("utf-8")
    except RecursionError as error:  # bytes of strangers come here: one kind of error for all
        raise ValueError("nested too deeply") from error
    if spelled != data:
        raise ValueError("bytes are JSON but not in canonical form")
    return document


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of `data` as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("duplicate key")
    return document


def _check(node: Json) -> None:
    if isinstance(node, dict):
        for key in node:
            if not isinstance(key, str):
                raise ValueError(f"key {key!r} is not a string")
        _check_all(node.values())
    elif isinstance(node, list):
        _check_all(node)
    elif isinstance(node, float):
        if not math.isfinite(node):
            raise ValueError(f"{node!r} has no canonical form")
    elif node is not None and not isinstance(node, bool | int | str):
        raise ValueError(f"{type(node).__name__} has no canonical form")


def _check_all(nodes: Iterable[Json]) -> None:
    for node in nodes:
        if type(node) not in _PLAIN:
            _check(node)
