"""What was read of files is kept until one of them changes: pages are asked for again and again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")
_MOST = 4096


class Unchanged(Generic[T]):
    """Results by name, each with the state of the files that it was read from."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[object, T]] = {}
        self._lock = threading.Lock()

    def get(self, name: Hashable, files: Iterable[Path], read: Callable[[], T]) -> T:
        """Return what was read before, or read it again where a file has changed since.

        Args:
            name: of the result.
            files: that it follows from; those that are missing count as such.
            read: reads them. What it raises is not kept.
        """
        state = tuple(map(_state, files))
        with self._lock:
            found = self._kept.get(name)
        if found is not None and found[0] == state:
            return found[1]
        result = read()
        with self._lock:
            if len(self._kept) >= _MOST:
                self._kept.clear()
            self._kept[name] = state, result
        return result


def _state(path: Path) -> tuple[str, int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return str(path), 0, 0, 0
    return str(path), found.st_ino, found.st_mtime_ns, found.st_size
