"""The run's append-only event log: what happened and when, for terminals and dashboards alike.

Everything a person watches is read from this one file, so that a progress bar, a status command
and a dashboard can never disagree. It holds sums and public facts only.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from fedethics.canonical import Json
from fedethics.errors import RunError
from fedethics.release.run_log import EVENTS, read_events
from fedethics.storage import files, lines

__all__ = ["EVENTS", "EventLog", "read_events"]


class EventLog:
    """Appends events to `events.jsonl` in the run's directory."""

    def __init__(self, job_path: Path) -> None:
        self._path = job_path / EVENTS

    def write(self, event: str, **fields: Json) -> None:
        """Append one event with its time (UTC).

        Raises:
            RunError: it cannot be written, as when the disk is full.
        """
        line = {"time": datetime.now(UTC).isoformat(), "event": event, **fields}
        try:
            lines.append(self._path, line, mode=files.PUBLIC)
        except OSError as error:
            raise RunError(
                f"{self._path} cannot be written ({error.strerror}). What was committed is kept; "
                "make room, then resume the job"
            ) from error
