"""The run's append-only event log: what happened and when, for terminals and dashboards alike.

Everything a person watches is read from this one file, so that a progress bar, a status command
and a dashboard can never disagree. It holds sums and public facts only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from fedethics.canonical import Json

EVENTS = "events.jsonl"


class EventLog:
    """Appends events to `events.jsonl` in the run's directory."""

    def __init__(self, job_path: Path) -> None:
        self._path = job_path / EVENTS

    def write(self, event: str, **fields: Json) -> None:
        """Append one event with its time (UTC)."""
        line = json.dumps({"time": datetime.now(UTC).isoformat(), "event": event, **fields})
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def read_events(job_path: Path) -> Iterator[dict[str, Json]]:
    """Yield the events so far, oldest first; a line still being written is left out."""
    path = job_path / EVENTS
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            return
