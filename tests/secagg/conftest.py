"""A federation of seven sites, and a coordinator that lies to them."""

import pytest

from tests.secagg.federation import Federation, random_vectors
from tests.secagg.lie_checks import SPEC
from tests.secagg.lying_server import LyingServer


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
