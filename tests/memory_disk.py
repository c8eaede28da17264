"""Temporary folders in memory, where the machine has room for them there.

Ledgers, journals and stores sync every commit. A federation of two rounds commits some 600 times,
and on a disk it waits for the disk most of the time. In memory the same calls are made in the same
order, and a process that is killed leaves the same files. That a file survives a power cut follows
from the order of the calls, and `tests/storage/test_files.py` checks that order.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

FOLDER = Path("/dev/shm")
# What a whole suite keeps at once, with much to spare.
ROOM = 4 * 2**30


def take(folder: Path = FOLDER, *, room: int = ROOM) -> bool:
    """Put this process's temporary folders, and its children's, into `folder`.

    Returns:
        Whether it did. It does not where there is no such folder, where it has less than `room`
        bytes free, or where somebody has chosen a place (`TMPDIR`, `PYTEST_DEBUG_TEMPROOT`).
    """
    if {"TMPDIR", "PYTEST_DEBUG_TEMPROOT"} & os.environ.keys():
        return False
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        return False
    if shutil.disk_usage(folder).free < room:
        return False
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    return True
