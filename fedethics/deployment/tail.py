"""Follow a file that grows by whole lines of JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Tail:
    """Yields what was appended since the last look; lines that are no JSON object are skipped."""

    def __init__(self, path: Path, *, from_end: bool = False) -> None:
        """Start at the beginning of `path`, or at its end as it is now."""
        self._path = path
        self._offset = path.stat().st_size if from_end and path.exists() else 0

    def new(self) -> list[dict[str, Any]]:
        """Return the whole lines that were appended, as objects; a half line waits."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [found for line in whole.splitlines() if (found := _object(line)) is not None]


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
