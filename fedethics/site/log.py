"""The site's own log: one JSON object a line, kept at the site, never sent.

Guarantee: written by code that passes names, numbers of rounds and reasons; no record's text and no
secret is ever a field.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path


def _now() -> datetime:
    return datetime.now(UTC)


class SiteLog:
    """Appends events to a file with mode 0600."""

    def __init__(self, path: Path, *, clock: Callable[[], datetime] = _now) -> None:
        self._path = path
        self._clock = clock

    def write(self, event: str, **fields: str | int | float | bool) -> None:
        """Append one event with its time (UTC)."""
        line = json.dumps({"time": self._clock().isoformat(), "event": event, **fields})
        if not self._path.exists():
            self._path.touch(mode=0o600)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
