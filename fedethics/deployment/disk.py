"""Is there room left on a home's disk? Told on the screen: a full disk can log nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

# One round's files at a site or coordinator with an adapter of a few megabytes.
_LEAST_BYTES = 16 << 20


def shortage(home: Path) -> str:
    """Return a sentence when the disk of `home` is all but full, else an empty one."""
    free = shutil.disk_usage(home).free
    if free >= _LEAST_BYTES:
        return ""
    return (
        f"the disk of {home} is all but full ({free / 2**20:.1f} MiB left): make room. What was "
        "committed or reserved stands"
    )
