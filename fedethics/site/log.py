"""The site's own log: one JSON object a line, kept at the site, never sent.

Guarantee: written by code that passes names, numbers of rounds and reasons; no record's text and no
secret is ever a field.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from fedethics.errors import RunError
from fedethics.storage import lines


def _now() -> datetime:
    return datetime.now(UTC)


class SiteLog:
    """Appends events to a file with mode 0600."""

    def __init__(self, path: Path, *, clock: Callable[[], datetime] = _now) -> None:
        self._path = path
        self._clock = clock

    def write(self, event: str, **fields: str | int | float | bool) -> None:
        """Append one event with its time (UTC).

        Raises:
            RunError: it cannot be written, as when the disk is full. What cannot be logged is not
                answered either.
        """
        line = {"time": self._clock().isoformat(), "event": event, **fields}
        try:
            lines.append(self._path, line)
        except OSError as error:
            raise RunError(
                f"{self._path} cannot be written ({error.strerror}); the site answers nothing that "
                "it cannot log. Make room, and it continues"
            ) from error


def write_if_possible(log: SiteLog, event: str, **fields: str | int | float | bool) -> None:
    """Append an event on which nothing rests: a refusal, or that a process has started."""
    with suppress(RunError):
        log.write(event, **fields)
