"""The charter as bytes: read from TOML or canonical JSON, written canonically, hashed.

Guarantee: `parse(encode(c)) == c`, and the hash is the SHA-256 of the only spelling there is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from fedethics import canonical, plain_file, terms
from fedethics.charter.model import Charter
from fedethics.charter.refusals import refusals
from fedethics.charter.roster import Member
from fedethics.charter.spelling import composed_all
from fedethics.errors import CharterError


def load(path: Path) -> Charter:
    """Read a charter from a TOML file (as people write it) or a .json file (canonical bytes).

    Raises:
        CharterError: unreadable, or not a charter; the message lists every problem with its key.
    """
    if path.suffix == ".json":
        return parse(plain_file.read(path, CharterError, typed=True))
    return _build(terms.load_toml(path, CharterError), where=str(path))


def parse(data: bytes) -> Charter:
    """Read a charter from its canonical bytes, refusing any other spelling.

    A site reads its charter for each message. The same bytes give the same charter, which nobody
    can change, so each process checks them once.

    Raises:
        CharterError: not canonical, or not a charter; the message lists every problem with its key.
    """
    return _parsed(data)


@lru_cache(maxsize=32)
def _parsed(data: bytes) -> Charter:
    try:
        table = canonical.parse(data)
    except ValueError as error:
        raise CharterError(f"charter bytes are not canonical: {error}") from error
    if composed_all(table) != table:
        raise CharterError("charter bytes are not canonical: letters are not in composed form")
    return _build(table, where="charter")


def encode(charter: Charter) -> bytes:
    """Return the charter's canonical bytes."""
    return canonical.encode(terms.document(charter))


def hash_of(charter: Charter) -> str:
    """Return the SHA-256 of the canonical bytes: the charter's name in every message."""
    return canonical.sha256_hex(encode(charter))


def schema_hash(charter: Charter) -> str:
    """Return the SHA-256 of the data schema alone, for manifests."""
    return canonical.sha256_hex(canonical.encode(terms.document(charter.data)))


def enrol(draft: Charter, *, coordinator_key: str, roster: Sequence[Member]) -> Charter:
    """Return the draft with its roster and coordinator filled in, checked again.

    Raises:
        CharterError: a name or key stands twice, or fewer sites than the minimum cohort.
    """
    charter = dataclasses.replace(draft, coordinator_key=coordinator_key, roster=tuple(roster))
    return parse(encode(charter))


def _build(table: Any, *, where: str) -> Charter:  # noqa: ANN401  parsed TOML or JSON
    # Cells are read in the same form: a word is the same category however its letters are put.
    table = composed_all(table)
    problems: list[str] = []
    charter = terms.read(Charter, table, path="", problems=problems)
    problems.extend(refusals(table))
    if problems or charter is None:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise CharterError(f"{where} is not a valid charter; nothing was started:\n{listed}")
    return charter
