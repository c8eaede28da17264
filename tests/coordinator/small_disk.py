"""A real disk that is small, and can be filled and freed: a tmpfs of a few megabytes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_FILLER = ".filler"


class SmallDisk:
    """The disk that is mounted at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.full = False

    def fill(self, *, leave_kib: int = 0) -> None:
        """Use up all room but `leave_kib`."""
        room = os.statvfs(self.path)
        size = room.f_bavail * room.f_bsize - (leave_kib << 10)
        with (self.path / _FILLER).open("ab") as file:
            if size > 0:
                os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), size)
        self.full = True

    def free(self) -> None:
        """Give the room back."""
        (self.path / _FILLER).unlink(missing_ok=True)
        self.full = False


def can_mount() -> bool:
    """Say whether this process may mount, trying it in a mount namespace of its own."""
    words = ("unshare", "--mount", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/mnt")
    return (
        bool(shutil.which("unshare")) and not subprocess.run(words, capture_output=True).returncode
    )


@contextmanager
def small_disk(path: Path, *, mib: int) -> Iterator[SmallDisk]:
    """Put what is in `path` on a disk of `mib` for as long as the block runs, and back after."""
    if not can_mount():
        pytest.skip("a small disk needs the right to mount (root)")
    aside = path.with_name(path.name + ".aside")
    path.rename(aside)
    path.mkdir(mode=0o700)
    subprocess.run(
        ("mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=700", "tmpfs", str(path)), check=True
    )
    disk = SmallDisk(path)
    try:
        shutil.copytree(aside, path, dirs_exist_ok=True)
        yield disk
    finally:
        disk.free()
        back = path.with_name(path.name + ".back")
        shutil.copytree(path, back)
        subprocess.run(("umount", "--lazy", str(path)), check=True)
        path.rmdir()
        back.rename(path)
        shutil.rmtree(aside)
