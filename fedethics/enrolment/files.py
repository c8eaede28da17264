"""Files of a home directory: private, whole or absent, never overwritten by accident."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from fedethics import plain_file
from fedethics.commands import command
from fedethics.errors import EnrolmentError
from fedethics.storage import files as storage

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
_BUILDING = ".being-made"


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
            f"{path} has mode {mode:04o}, so others could read it; nothing was written. Run: "
            f"{command('chmod', '700', path)}"
        )


@contextmanager
def new_home(home: Path, made: Sequence[str], *, last: str) -> Iterator[Path]:
    """Yield a folder to build a home in; all of it is put in place at the end, or nothing is.

    A home that is not there yet appears by one renaming. Into one that is there, ours are moved one
    by one, `last` at the end; should one fail, they are taken out again, and what a killed process
    left is cleared by the next. So the home is as it was whatever fails, and the same command,
    corrected, can finish.

    Args:
        home: made with mode 0700, or there with that mode.
        made: names that must not be there yet.
        last: the one of these without which the others are no home.

    Raises:
        EnrolmentError: others may look into the home, or it holds one of the names.
    """
    if home.is_symlink() or (home.exists() and not home.is_dir()):
        raise EnrolmentError(f"{home} is not a directory; nothing was written")
    there = home.exists()
    if there:
        make_private_folder(home)  # refuses one that others may look into
        _clear_killed(home, made, last)
    refuse_existing(home, made)
    parent = home.absolute().parent
    above = [one for one in (parent, *parent.parents) if not one.exists()]
    building = home / _BUILDING if there else parent / f".{home.name}.{secrets.token_hex(4)}.new"
    try:
        building.mkdir(mode=PRIVATE_FOLDER, parents=True)
        yield building
        _move_in(building, home, last) if there else os.rename(building, home)
    except OSError as error:
        raise EnrolmentError(
            f"{error.filename or home} cannot be written: {error.strerror}; nothing was made"
        ) from error
    finally:
        failed = building.exists() or not home.exists()
        if building.exists():
            shutil.rmtree(building, ignore_errors=True)
        for folder in above if failed else ():
            with suppress(OSError):
                folder.rmdir()


def _move_in(building: Path, home: Path, last: str) -> None:
    moved = list[Path]()
    try:
        for source in sorted(building.iterdir(), key=lambda path: (path.name == last, path.name)):
            os.rename(source, home / source.name)
            moved.append(home / source.name)
    except OSError:
        for path in moved:
            os.rename(path, building / path.name)
        raise
    building.rmdir()


def _clear_killed(home: Path, made: Sequence[str], last: str) -> None:
    """Take out what a process left that was killed before it put `last` in place."""
    building = home / _BUILDING
    if not building.is_dir():
        return
    if not (home / last).exists():
        for path in (home / name for name in made):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    shutil.rmtree(building)


def refuse_existing(home: Path, names: Sequence[str]) -> None:
    """Refuse to go on where one of these files is there already.

    Raises:
        EnrolmentError: naming all of them.
    """
    there = [name for name in names if (home / name).exists()]
    if there:
        raise EnrolmentError(
            f"{home} holds {', '.join(there)} already; nothing was overwritten. A home is made "
            "only once: its keys and its ledger cannot be made again"
        )


def read(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        EnrolmentError: missing, unreadable, no plain file, or larger than any such paper.
    """
    return plain_file.read(path, EnrolmentError, typed=True)


def create(path: Path, data: bytes, *, mode: int = PRIVATE_FILE) -> None:
    """Write a new file, durably; never overwrite one, and never leave half of one.

    Raises:
        EnrolmentError: it is there already, or cannot be written.
    """
    try:
        storage.create(path, data, mode=mode)
    except FileExistsError as error:
        raise EnrolmentError(f"{path} is there already; it was not changed") from error
    except OSError as error:
        raise EnrolmentError(
            f"{path} cannot be written: {error.strerror}; nothing of it was kept"
        ) from error


def replace(path: Path, data: bytes, *, mode: int = PRIVATE_FILE) -> None:
    """Put `data` in the place of a file in one step: whole before, whole after.

    Raises:
        EnrolmentError: it cannot be written.
    """
    try:
        storage.replace(path, data, mode=mode)
    except OSError as error:
        raise EnrolmentError(f"{path} cannot be written: {error.strerror}") from error


@contextmanager
def put_back(*paths: Path) -> Iterator[None]:
    """Put these files back as they were, or away where they were not, if the block fails."""
    before = {path: read(path) if path.exists() else None for path in paths}
    try:
        yield
    except BaseException:
        for path, data in before.items():
            with suppress(EnrolmentError, OSError):
                if data is None:
                    path.unlink(missing_ok=True)
                elif read(path) != data:
                    replace(path, data)
        raise
