"""Receipts in files: one receipt by itself, or a run's evidence that holds every site's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from fedethics import canonical, plain_file
from fedethics.release.durable import FILE_LIMIT

_RECEIPT = {"body", "public-key", "signature"}


def receipts_in(path: Path, public_key: str) -> list[bytes]:
    """Return the receipts of the holder of `public_key` in a file, as a ledger wrote them.

    Signatures are not checked here.

    Raises:
        typer.BadParameter: unreadable, neither a receipt nor evidence, or none by this key in it.
    """
    table = _table(path)
    given = table["receipts"] if isinstance(table.get("receipts"), list) else [table]
    receipts = [each for each in given if isinstance(each, dict) and set(each) == _RECEIPT]
    if not receipts:
        raise _refused(f"{path} is neither a receipt nor the evidence of a run")
    own = [each for each in receipts if each["public-key"] == public_key]
    if not own:
        raise _refused(f"{path} holds no receipt by the key {public_key[:16]}...")
    return [canonical.encode(each) for each in own]


def _table(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(plain_file.read(path, _refused, limit=FILE_LIMIT, typed=True))
    except (ValueError, RecursionError) as error:
        raise _refused(f"{path} is neither a receipt nor the evidence of a run") from error
    return table if isinstance(table, dict) else {}


def _refused(why: str) -> typer.BadParameter:
    return typer.BadParameter(why, param_hint="--receipt")
