"""Files that are whole or absent, and their hashes.

Guarantee: after `write` returns, the new bytes survive a power cut; before, the old ones do. No
reader ever sees half a file.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from fedethics.errors import ReleaseError
from fedethics.ownership import cannot_read


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


def read(path: Path) -> bytes:
    """Return the bytes of `path`.

    Raises:
        ReleaseError: missing or unreadable.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ReleaseError(
            f"{cannot_read(path, error)}; the run directory is incomplete"
        ) from error


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits.

    Raises:
        ReleaseError: missing or unreadable.
    """
    return hashlib.sha256(read(path)).hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
