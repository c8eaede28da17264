"""Stores of these tests live in memory where the machine has a place for it: they sync often."""

import os
import tempfile
from pathlib import Path

import pytest

from tests.secagg.federation import Federation, random_vectors
from tests.secagg.lie_checks import SPEC
from tests.secagg.lying_server import LyingServer

MEMORY = Path("/dev/shm")


@pytest.fixture
def tmp_path():
    usable = MEMORY.is_dir() and os.access(MEMORY, os.W_OK)
    with tempfile.TemporaryDirectory(dir=MEMORY if usable else None) as folder:
        yield Path(folder)


@pytest.fixture
def federation(tmp_path):
    """Seven sites of which two may collude: t = 5."""
    federation = Federation(tmp_path, 7, minimum_cohort=4, colluders=2)
    federation.join()
    return federation


@pytest.fixture
def server(federation):
    return LyingServer(federation)


@pytest.fixture
def vectors(federation):
    return random_vectors(federation.names, SPEC)
