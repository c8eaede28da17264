"""Files of a home directory: private, whole or absent, never overwritten by accident."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from fedethics.errors import EnrolmentError

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


def make_private_folder(path: Path) -> None:
    """Make a folder with mode 0700, or take one that is there and has it.

    Raises:
        EnrolmentError: it cannot be made, or others may look into it.
    """
    try:
        path.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise EnrolmentError(f"{path} cannot be made: {error.strerror}") from error
    if mode & 0o077:
        raise EnrolmentError(
            f"{path} has mode {mode:04o}, so others could look into it; nothing was written. "
            f"Run: chmod 700 {path}"
        )


def refuse_existing(home: Path, names: tuple[str, ...]) -> None:
    """Refuse to go on where one of these files is there already.

    Raises:
        EnrolmentError: naming all of them.
    """
    there = [name for name in names if (home / name).exists()]
    if there:
        raise EnrolmentError(
            f"{home} holds {', '.join(there)} already; nothing was overwritten. A home is made "
            "once: its keys and its ledger cannot be made again"
        )


def read(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        EnrolmentError: missing or unreadable.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise EnrolmentError(f"{path} cannot be read: {error.strerror}") from error


def create(path: Path, data: bytes, *, mode: int = PRIVATE_FILE) -> None:
    """Write a new file, durably; never overwrite one.

    Raises:
        EnrolmentError: it is there already, or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise EnrolmentError(f"{path} is there already; it was left as it is") from error
    except OSError as error:
        raise EnrolmentError(f"{path} cannot be written: {error.strerror}") from error


def replace(path: Path, data: bytes, *, mode: int = PRIVATE_FILE) -> None:
    """Put `data` in the place of a file in one step: whole before, whole after.

    Raises:
        EnrolmentError: it cannot be written; the old file is still in place.
    """
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    create(temporary, data, mode=mode)
    try:
        os.replace(temporary, path)
    except OSError as error:
        raise EnrolmentError(f"{path} cannot be written: {error.strerror}") from error
