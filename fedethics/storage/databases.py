"""SQLite files: made private, opened only where they are, synced on every commit."""

from __future__ import annotations

import os
import secrets
import sqlite3
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

from fedethics.storage import files


@contextmanager
def connected(
    path: Path,
    *,
    timeout_s: float,
    mode: Literal["rw", "ro"] = "rw",
    synchronous: Literal["FULL", "EXTRA"] = "FULL",
    erase: bool = False,
    implicit: bool = False,
) -> Iterator[sqlite3.Connection]:
    """Yield a connection of this thread's own; what is not committed on leaving is undone.

    Args:
        path: a file that is there: none is ever made by opening it.
        timeout_s: seconds to wait for others that hold the file.
        mode: "ro" writes nothing.
        synchronous: FULL syncs the journal and the file at each commit, EXTRA the folder after.
        erase: overwrite deleted rows with zeros, as far as the file system allows.
        implicit: begin a transaction by itself at the first change, as Python does.

    Raises:
        sqlite3.Error: the file is missing, busy, damaged or on a full disk.
    """
    name = urllib.parse.quote(os.fsencode(path.absolute()))
    opened = sqlite3.connect(
        f"file:{name}?mode={mode}",
        uri=True,
        timeout=timeout_s,
        isolation_level="DEFERRED" if implicit else None,
    )
    with closing(opened) as connection:
        if mode == "rw":
            connection.execute(f"PRAGMA synchronous = {synchronous}")
        if erase:
            connection.execute("PRAGMA secure_delete = ON")
        yield connection


def make_empty(path: Path) -> None:
    """Make an empty file (mode 0600) for a database, or leave the one that is there.

    Raises:
        OSError: it cannot be made.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        files.create(path, b"")
    except FileExistsError:
        return


def make(path: Path, lay_out: Callable[[sqlite3.Connection], None]) -> None:
    """Make a database (mode 0600) that appears under its name laid out, or leave the one there.

    No process ever finds the file empty: neither one that runs at the same time, nor one that
    starts after a crash.

    Args:
        path: of the file.
        lay_out: writes tables and version into an empty database, and commits.

    Raises:
        OSError: it cannot be made.
        sqlite3.Error: it cannot be laid out.
    """
    building = path.with_name(f".{path.name}.{secrets.token_hex(6)}.new")
    files.create(building, b"")
    try:
        with connected(building, timeout_s=0.0) as connection:
            lay_out(connection)
        _appear(building, path)
    finally:
        building.unlink(missing_ok=True)
    files.sync_folder(path.parent)


def _appear(building: Path, path: Path) -> None:
    """Give a file its name, unless another process was first."""
    try:
        os.link(building, path)
    except FileExistsError:
        return
    except OSError:
        # A file system without second names: whoever makes the name first puts the file there.
        try:
            files.create(path, b"")
        except FileExistsError:
            return
        os.replace(building, path)
