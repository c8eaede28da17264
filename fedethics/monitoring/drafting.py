"""The charter that watches a release: the release's own, with `[monitoring]` and a new version."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from fedethics import terms
from fedethics.canonical import Json
from fedethics.charter import document
from fedethics.charter.model import Charter
from fedethics.charter.monitoring_terms import MonitoringTerms
from fedethics.errors import CharterError
from fedethics.release import durable
from fedethics.release.folder import MANIFEST
from fedethics.release.standing import require_released


def watch_charter(release: Path, table: dict[str, Any]) -> Charter:
    """Return the charter by which the federation of a release watches it.

    Sites, keys, data, model and thresholds are those of the release. It trains nothing, whatever
    its `[training]` says.

    Args:
        release: its folder; verified first.
        table: `[monitoring]` as in a charter, without `release`, which is filled in here.

    Raises:
        ReleaseError: the release may not be used.
        CharterError: the terms are not valid.
    """
    opened = require_released(release)
    problems: list[str] = []
    named = {"release": durable.file_sha256(release / MANIFEST), **table}
    agreed = terms.read(MonitoringTerms, named, path="monitoring", problems=problems)
    if problems or agreed is None:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise CharterError(f"the terms of monitoring are not valid; nothing was written:\n{listed}")
    before = opened.charter
    charter = dataclasses.replace(
        before,
        charter=dataclasses.replace(before.charter, version=before.charter.version + 1),
        adapter=dataclasses.replace(before.adapter, from_=opened.evidence.model_hash),
        monitoring=agreed,
        # Of the run that made the release: a charter that watches trains and counts none of it.
        tuning=None,
        norms=None,
        census=None,
    )
    return document.parse(document.encode(charter))


def read_terms(path: Path) -> dict[str, Any]:
    """Return the table `[monitoring]` of a TOML file.

    Raises:
        CharterError: unreadable, or without that table.
    """
    table = terms.load_toml(path, CharterError).get("monitoring")
    if not isinstance(table, dict):
        raise CharterError(f"{path} has no table [monitoring]; nothing was written")
    return table


def draft_text(charter: Charter) -> str:
    """Return a charter as the TOML of a draft, without roster and coordinator.

    Tables within tables are written on one line, which TOML reads the same.
    """
    draft = dataclasses.replace(charter, roster=(), coordinator_key="")
    whole = terms.document(draft)
    if not isinstance(whole, dict):
        raise CharterError("a charter is a table; nothing was written")
    parts = ["# The charter that watches a release. It trains nothing; see docs/after-release.md."]
    plain = {key: value for key, value in whole.items() if not isinstance(value, dict)}
    parts += [f"{key} = {_inline(value)}" for key, value in plain.items() if value is not None]
    for key, table in whole.items():
        if isinstance(table, dict):
            parts.append(f"\n[{key}]")
            parts += [f"{name} = {_inline(one)}" for name, one in table.items() if one is not None]
    return "\n".join(parts) + "\n"


def _inline(value: Json) -> str:
    if isinstance(value, dict):
        named = (f"{json.dumps(key)} = {_inline(one)}" for key, one in value.items())
        return "{" + ", ".join(named) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
