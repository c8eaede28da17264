"""A process's wall clock, set wrong and right again while it runs, by a small preloaded library."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

_SOURCE = Path(__file__).with_name("wrong_clock.c")


class Clock:
    """A clock for the processes that are started with `environment`."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None or not sys.platform.startswith("linux"):
            pytest.skip("a wrong clock needs a C compiler (cc) on Linux")
        self._file, library = folder / "clock", folder / "wrong_clock.so"
        command = (compiler, "-O1", "-shared", "-fPIC", "-o", library, _SOURCE, "-ldl")
        subprocess.run(command, check=True)
        self._file.write_bytes(bytes(8))
        self.environment = {
            "LD_PRELOAD": str(library),
            "FEDETHICS_WRONG_CLOCK": str(self._file),
        }

    def set(self, *, minutes: int) -> None:
        """Put the clock so far ahead or behind, at once."""
        # Written in place: the processes have the file mapped.
        with self._file.open("r+b") as file:
            file.write(struct.pack("=q", minutes * 60))
