"""report.json: what the pages say, as data, for those who compare releases by program."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from markupsafe import Markup

from fedethics import terms, texts
from fedethics.canonical import Json
from fedethics.charter import document
from fedethics.release.content import Content

# Whole documents of their own beside the report; of the decision, what the pages say.
_ELSEWHERE = {"charter", "evidence", "decision"}


def text(found: Content) -> str:
    """Return report.json; the verdict and the decision stand first."""
    shown: dict[str, Json] = {
        "run": found.evidence.run_id,
        "charter": {
            "name": found.charter.name,
            "version": found.charter.charter.version,
            "hash": document.hash_of(found.charter),
        },
        "verdict": found.gate.verdict,
        "state": found.decision.state,
        "decision": found.decision.sentence,
        "still-to-approve": list(found.decision.missing),
        "not-measured": list(found.charter.ethics.not_measured),
        "test-mode": found.evidence.test_mode,
    }
    for field in dataclasses.fields(Content):
        if field.name not in _ELSEWHERE:
            shown[terms.kebab(field.name)] = _plain(getattr(found, field.name))
    return texts.json_text(shown, indent=1) + "\n"


def _plain(value: object) -> Json:
    """Return a part without its drawings: every drawing has a table with the same numbers."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = ((each.name, getattr(value, each.name)) for each in dataclasses.fields(value))
        return {
            terms.kebab(name): _plain(item) for name, item in fields if not isinstance(item, Markup)
        }
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bool | int | str) or value is None:
        return value
    raise TypeError(f"{type(value).__name__} has no place in report.json")
