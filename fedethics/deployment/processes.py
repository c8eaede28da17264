"""Which process a number means: a number alone may belong to another one by now, or elsewhere.

A process is known by its number, the moment of its start, and the running system and container in
which that number counts. Source: proc(5). Where there is no /proc, the number and the host's name.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

_PROC = Path("/proc")
_STARTED = 21  # field 22 of /proc/PID/stat, counted after the name in brackets


def mark(pid: int) -> str:
    """Return what tells this process from every other one, as one line; "" when it is gone."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
        started = stat.rpartition(")")[2].split()[_STARTED - 2]
    except (OSError, IndexError):
        return "" if (_PROC / "self" / "stat").exists() else f"{pid} {_here()}"
    return f"{pid} {started} {_here()}"


def is_here(line: str) -> bool:
    """Say whether `line` marks a process of this very system and container."""
    return line.endswith(f" {_here()}")


def runs(line: str) -> bool:
    """Say whether the process that `mark` told so runs still, here."""
    pid = number(line)
    return pid is not None and is_here(line) and mark(pid) == line and _answers(pid)


def number(line: str) -> int | None:
    """Return the number in a mark, or None where there is none."""
    first = line.partition(" ")[0]
    return int(first) if first.isascii() and first.isdigit() else None


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _here() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink(_PROC / 'self/ns/pid')}"
    except OSError:
        return platform.node()
