"""Files of JSON objects, one a line, that only grow: written by one process, followed by many."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from fedethics.storage.files import PRIVATE


def append(path: Path, line: Mapping[str, object], *, mode: int = PRIVATE) -> None:
    """Append one object as a line of its own, whatever a crash left of the line before.

    Not synced: what must not be lost stands elsewhere.

    Args:
        path: made if it is not there.
        line: the object.
        mode: of a new file.

    Raises:
        OSError: it cannot be written, as when the disk is full.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
    with os.fdopen(os.open(path, flags, mode), "ab+") as file:
        torn = file.seek(0, os.SEEK_END) and _last_byte(file) != b"\n"
        file.write((("\n" if torn else "") + json.dumps(line) + "\n").encode("utf-8"))


def objects(data: bytes) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file's lines; a line that is none is passed over.

    Such a line is still being written, or was torn by a crash: those after it count all the same.
    """
    for line in data.split(b"\n"):
        try:
            value = json.loads(line.decode("utf-8", errors="replace"))
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value


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
        return list(objects(whole))


def _last_byte(file: BinaryIO) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)
