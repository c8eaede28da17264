"""The versions of Flower that this room was tested with, and what every process of it is told.

Private parts of flwr move fast (`fedethics.flower.patches`), so any other version is refused by
name instead of half working. `tests/contract/` is the gate: a version is added here once all of it
passes with that version.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from importlib.metadata import version

from fedethics.deployment import processes
from fedethics.errors import SetupError
from fedethics.installation import fits

ALLOWED = "flwr>=1.41,<1.43"  # as in pyproject.toml; the lines stand in `installation.PINNED`
STARTED_BY = "FEDETHICS_STARTED_BY"
_CHECK_S = 1.0


def require_flower() -> None:
    """Refuse any flwr but 1.41 and 1.42.

    Raises:
        SetupError: another version is installed; nothing was started.
    """
    found = version("flwr")
    if not fits("flwr", found):
        raise SetupError(
            f"flwr {found} is installed; this fedethics uses private parts of {ALLOWED} and was "
            f"tested with no other. Nothing was started. Run: pip install '{ALLOWED}'"
        )


def end_with_parent() -> None:
    """End this process when the one that started it is gone, even if that one was killed."""
    parent = os.getppid()
    _end_unless(lambda: os.getppid() == parent)


def end_with_coordinator() -> None:
    """End this process when the `federation start` that it belongs to is gone.

    A ServerApp has Flower's launcher for a parent, which it outlives. Without `federation start`,
    as in a simulation, nothing is watched. The variable holds the process's mark or number.
    """
    coordinator = os.environ.get(STARTED_BY, "")
    if coordinator:
        line = processes.mark(int(coordinator)) if coordinator.isdigit() else coordinator
        _end_unless(lambda: processes.runs(line))


def _end_unless(holds: Callable[[], bool]) -> None:
    def watch() -> None:
        while holds():
            time.sleep(_CHECK_S)
        os._exit(0)

    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()
