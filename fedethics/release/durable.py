"""Files that are whole or absent, and their hashes.

Guarantee: after `write` returns, the new bytes survive a power cut; before, the old ones do. No
reader ever sees half a file.
"""

from __future__ import annotations

from pathlib import Path

from fedethics import plain_file
from fedethics.errors import ReleaseError
from fedethics.storage import files

# The largest documents seen, of 64 sites and 300 rounds, have some 6 MB; pages some 2 MB.
FILE_LIMIT = 64 * 1024 * 1024
# An adapter of rank 64 on every layer of the largest open models has some 3 GB.
ADAPTER_LIMIT = 4 * 1024 * 1024 * 1024


def write(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace `path` by `data` in one step (`fedethics.storage.files`).

    Raises:
        ReleaseError: the folder is missing or not writable, or the disk is full.
    """
    try:
        files.replace(path, data, mode=mode)
    except OSError as error:
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
    return ReleaseError(f"{what}; the run directory is incomplete or was changed")
