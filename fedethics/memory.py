"""A process that holds keys or records leaves no copy of its memory behind.

Guarantee, on Linux: no core file, to no handler of core files either, and no other process of the
same account reads this one's memory or environment (`ptrace`, /proc). Other systems: no core file,
where they know that limit. Root can do all of it everywhere.
Source: prctl(2), PR_SET_DUMPABLE; getrlimit(2), RLIMIT_CORE; core(5).
"""

from __future__ import annotations

import ctypes
import sys

_PR_SET_DUMPABLE = 4


def keep_private() -> None:
    """Forbid copies of this process's memory; a program that it starts has to ask for itself."""
    _limit_core_files()
    if sys.platform.startswith("linux"):
        # The limit alone does not stop a handler such as systemd-coredump from being given all.
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _limit_core_files() -> None:
    try:
        import resource
    except ImportError:  # no such limit on this system
        return
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))
