"""The key that a founded home has is one that Flower takes."""

import pytest
from flwr.supernode.cli.flower_supernode import _try_setup_client_authentication

from fedethics.enrolment.homes import found_site


@pytest.fixture
def home(tmp_path):
    found_site(tmp_path / "site", site="alpha", data="data.csv")
    return tmp_path / "site"


def test_the_node_key_is_one_that_flower_takes(home):
    class Arguments:
        auth_supernode_private_key = str(home / "node.key")
        auth_supernode_public_key = None

    _private, public = _try_setup_client_authentication(Arguments)
    assert public.curve.name == "secp384r1"
