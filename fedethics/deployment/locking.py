"""One process a home: a lock that the operating system drops when its holder dies."""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from fedethics.errors import RunError


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, with this process's id in it.

    Raises:
        RunError: another process holds it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunError(
                f"{path.parent.parent} is being run by another process (id "
                f"{file.read().strip() or 'unknown'}); nothing was started"
            ) from None
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield


def holder(path: Path) -> int | None:
    """Return the id of the process that holds the lock file `path`, or None."""
    if not path.exists():
        return None
    with path.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            text = file.read().strip()
            return int(text) if text.isdigit() else None
    return None


def end_holder(path: Path, *, timeout_s: float) -> bool:
    """Ask the holder of `path` to end and wait until it has; return whether there was one.

    Raises:
        RunError: it is still there after `timeout_s`.
    """
    pid = holder(path)
    if pid is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    while holder(path) is not None:
        if time.monotonic() > deadline:
            raise RunError(f"process {pid} has not ended within {timeout_s:g} s")
        time.sleep(0.2)
    return True


def stop_signal() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set, so that everything started is also ended."""
    told = threading.Event()

    def tell(_number: int, _frame: FrameType | None) -> None:
        told.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, tell)
    return told


def write_secret(path: Path) -> None:
    """Write 32 fresh random bytes to a new file with mode 0600, in the place of an old one."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(32))
