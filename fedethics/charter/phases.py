"""The runs of a search, each as a charter that follows from the one that was signed.

A phase differs from the signed charter in the keys that it sets. It keeps what stood there, so that
the signed charter follows from it too: signatures, permissions and trials are held to that one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

from fedethics import canonical, terms
from fedethics.charter import document
from fedethics.charter.model import Charter
from fedethics.charter.tuning_terms import with_settings
from fedethics.errors import CharterError

_OWN = ("phase", "replaced")


def phase_of(agreed: Charter, phase: str, settings: Mapping[str, Any]) -> Charter:
    """Return the charter of one run of the search.

    Args:
        agreed: what is signed.
        phase: such as "trial-2".
        settings: value by key, as that run has them.

    Raises:
        CharterError: the settings make no valid charter.
    """
    table = _table(agreed)
    try:
        before = with_settings(table, settings)
    except KeyError as error:
        raise CharterError(f"[tuning] {phase}: {error} is no key of a table") from error
    replaced = json.loads(json.dumps(before))
    table["tuning"] |= {"phase": phase, "replaced": canonical.encode(replaced).decode("utf-8")}
    return _read(table, f"tuning: {phase}")


@lru_cache(maxsize=64)
def agreed_of(charter: Charter) -> Charter:
    """Return the charter that was signed: itself, or what a phase follows from.

    Raises:
        CharterError: what the phase says that it replaced makes no charter.
    """
    tuning = charter.tuning
    if tuning is None or tuning.phase is None:
        return charter
    table = _table(charter)
    try:
        with_settings(table, _replaced(tuning.replaced or ""))
    except KeyError as error:
        raise CharterError(f"tuning.replaced: {error} is no key of a table") from error
    for key in _OWN:
        del table["tuning"][key]
    return _read(table, "the charter that a phase follows from")


def _replaced(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CharterError("tuning.replaced: no JSON") from error
    if not isinstance(found, dict):
        raise CharterError("tuning.replaced: no table")
    return found


def _read(table: dict[str, Any], what: str) -> Charter:
    try:
        return document.parse(canonical.encode(table))
    except (CharterError, ValueError) as error:
        raise CharterError(f"{what}: {error}") from error


def _table(charter: Charter) -> dict[str, Any]:
    return cast(dict[str, Any], terms.document(charter))
