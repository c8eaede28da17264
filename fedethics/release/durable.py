"""Files that are whole or absent, and their hashes.

Guarantee: after `write` returns, the new bytes survive a power cut; before, the old ones do. No
reader ever sees half a file.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from fedethics import plain_file
from fedethics.errors import ReleaseError

# The largest documents seen, of 64 sites and 300 rounds, have some 6 MB; pages some 2 MB.
FILE_LIMIT = 64 * 1024 * 1024
# An adapter of rank 64 on every layer of the largest open models has some 3 GB.
ADAPTER_LIMIT = 4 * 1024 * 1024 * 1024


def write(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace `path` by `data` in one step: temporary file, fsync, rename, fsync of the folder.

    Raises:
        ReleaseError: the folder is missing or not writable, or the disk is full.
    """
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise ReleaseError(f"{path} cannot be written: {error.strerror}") from error
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ReleaseError(f"{path} cannot be written: {error.strerror}") from error


def read(path: Path, *, limit: int = FILE_LIMIT) -> bytes:
    """Return the bytes of a file in a release or job folder, which somebody else may have made.

    Raises:
        ReleaseError: missing, unreadable, larger than `limit`, or no plain file of one name (see
            `fedethics.plain_file`).
    """
    return plain_file.read(path, _incomplete, limit=limit)


def file_sha256(path: Path, *, limit: int = ADAPTER_LIMIT) -> str:
    """Return the SHA-256 of a file as 64 hex digits, without holding it in memory.

    Raises:
        ReleaseError: as `read` does.
    """
    return plain_file.sha256(path, _incomplete, limit=limit)


def _incomplete(what: str) -> ReleaseError:
    return ReleaseError(f"{what}; the run directory is not as a run leaves it")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
