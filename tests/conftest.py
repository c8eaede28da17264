"""What many tests share: the demo's charter, folders in memory, and no network for any test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import memory_disk

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
os.environ.setdefault("FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# One thread: tests are many small steps, and threads that wait for each other slow a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Before pytest makes its first folder. Its own option, `--basetemp`, still has the last word.
memory_disk.take()

# A red run is about the change, never about the draw or a machine that stood still for a moment:
# the same examples each time, without a clock. `--hypothesis-profile=search` draws new ones.
_UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", _UNTIMED, derandomize=True)
settings.register_profile("search", _UNTIMED)
settings.load_profile("same")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def heart_text() -> str:
    """Return the demo's charter draft as people write it."""
    return (ROOT / "configs" / "heart.charter.toml").read_text(encoding="utf-8")
