"""One process runs a job, never two: the lock is dropped by the system when its holder dies.

A ServerApp can outlive, for a moment, whatever started it. One that was started to resume the job
must not work on the same files meanwhile.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedethics.errors import RunError
from fedethics.storage import locks

LOCK = "lock"
_LOOK_S = 0.1


@contextmanager
def alone(job_path: Path, *, wait_s: float = 20.0) -> Iterator[None]:
    """Hold the job in `job_path`; another process that holds it is given `wait_s` to end.

    Guarantee: while this is held, no other process runs this job.

    Raises:
        RunError: another process still runs it; nothing was changed.
    """
    try:
        job_path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(job_path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise RunError(f"{job_path} cannot be used ({error.strerror}); nothing ran") from error
    with os.fdopen(descriptor, "r+") as file:
        deadline = time.monotonic() + wait_s
        while not _is_taken(file.fileno()):
            if time.monotonic() > deadline:
                raise RunError(
                    f"{job_path} is being run by another process, which did not end within "
                    f"{wait_s:g} s; nothing was changed. End that one, then resume the job"
                )
            time.sleep(_LOOK_S)
        yield


def _is_taken(descriptor: int) -> bool:
    try:
        return locks.take(descriptor)
    except locks.NoLocksError as error:
        raise RunError(
            f"the job's directory cannot be locked ({error.strerror}); nothing ran. It must lie on "
            "a file system with working locks"
        ) from error
