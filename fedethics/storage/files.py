"""Files that are whole or absent: written beside their name, synced, renamed, folder synced.

Guarantee: after `replace`, `create` or `move` returns, the file survives a power cut under its
name. Before `replace` returns, the old file does, and no reader ever sees half of either. Windows
syncs no folders; there a renaming may be lost with the power, never half done.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TextIO

PRIVATE = 0o600
PUBLIC = 0o644


def replace(path: Path, data: bytes, *, mode: int = PRIVATE) -> None:
    """Put `data` at `path` in one step, whatever is there now.

    Args:
        path: in a folder that is there.
        data: the whole file.
        mode: exactly, by no umask.

    Raises:
        OSError: the folder is missing or not writable, or the disk is full. Unless the folder could
            not be synced, what was there is still in place.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.new")
    try:
        _write_new(temporary, data, mode=mode)
        temporary.chmod(mode)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def create(path: Path, data: bytes, *, mode: int = PRIVATE) -> None:
    """Write a new file; never overwrite one, and leave none after a failure.

    A process that is killed while it writes may leave a part of it.

    Args:
        path: in a folder that is there.
        data: the whole file.
        mode: less what the umask takes away.

    Raises:
        FileExistsError: it is there already; it was not changed.
        OSError: it cannot be written.
    """
    _write_new(path, data, mode=mode)
    try:
        sync_folder(path.parent)
    except OSError:
        path.unlink(missing_ok=True)
        raise


@contextmanager
def written(path: Path) -> Iterator[TextIO]:
    """Give an open text file, UTF-8, that is at `path` once the block ends, and nowhere else.

    For what is too long to be held in memory; private. A file that is there already is left as it
    is. A process that is killed while it writes may leave a hidden part in the folder.

    Raises:
        FileExistsError: there is one already.
        OSError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        os.rename(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def move(source: Path, target: Path) -> None:
    """Rename a file, in the place of what is there.

    Raises:
        OSError: it cannot be renamed.
    """
    os.replace(source, target)
    sync_folder(target.parent)


def sync(file: BinaryIO) -> None:
    """Make what was written to an open file durable.

    Raises:
        OSError: the disk refused.
    """
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the system can.

    Raises:
        OSError: the disk refused.
    """
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_new(path: Path, data: bytes, *, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            sync(file)
    except OSError:
        with suppress(OSError):
            path.unlink()  # half a file would keep the next try away
        raise
