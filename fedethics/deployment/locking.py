"""One process a home: a lock that the operating system drops when its holder dies."""

from __future__ import annotations

import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TextIO

from fedethics.deployment import processes
from fedethics.errors import RunError
from fedethics.storage import files, locks
from fedethics.systems import require_home_system


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, with this process's mark in it (`processes.mark`).

    Raises:
        RunError: another process holds it, or the file system has no locks.
    """
    require_home_system("running a home")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        if not _take(file, path):
            raise RunError(
                f"{path.parent.parent} is being run by another process (id "
                f"{processes.number(file.read().strip()) or 'unknown'}); nothing was started"
            )
        file.truncate()
        file.write(processes.mark(os.getpid()))
        file.flush()
        yield


def holder(path: Path) -> int | None:
    """Return the id of the process that holds the lock file `path`, or None."""
    return processes.number(_held(path) or "")


def is_held(path: Path) -> bool:
    """Say whether some process holds the lock file `path`."""
    return _held(path) is not None


def end_holder(path: Path, *, timeout_s: float) -> bool:
    """Ask the holder of `path` to end and wait until it has; return whether there was one.

    Only the very process that wrote the lock is asked: its number may mean another one by now, or
    in another container.

    Raises:
        RunError: it is still there after `timeout_s`, or is no process of this system; then nothing
            was asked to end.
    """
    line = _held(path)
    if line is None:
        return False
    pid = processes.number(line)
    if pid is None or not processes.runs(line):
        raise RunError(
            f"{path.parent.parent} is run by a process that cannot be reached from here "
            f"({pid or 'without a number'}): on another machine, or in another container. Nothing "
            "was stopped. Give the command there"
        )
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    while _held(path) == line:
        if time.monotonic() > deadline:
            raise RunError(f"process {pid} has not ended within {timeout_s:g} s")
        time.sleep(0.2)
    return True


def _held(path: Path) -> str | None:
    """Return what stands in a lock that somebody holds; None where nobody does."""
    if not path.exists():
        return None
    require_home_system("looking at a home's lock")
    with path.open("r+") as file:
        return None if _take(file, path, shared=True) else file.read().strip()


def _take(file: TextIO, path: Path, *, shared: bool = False) -> bool:
    try:
        return locks.take(file.fileno(), shared=shared)
    except locks.NoLocksError as error:
        raise RunError(
            f"{path} cannot be locked ({error.strerror}), so it is unknown whether "
            f"{path.parent.parent} is running; nothing was started. It must be on a file system "
            "with working locks"
        ) from error


def stop_signal() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set, so that everything started is also ended."""
    stopped = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return stopped


def write_secret(path: Path) -> None:
    """Write 32 fresh random bytes to a new file with mode 0600, in the place of an old one."""
    path.unlink(missing_ok=True)
    files.create(path, secrets.token_bytes(32))
