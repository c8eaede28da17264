"""Which nodes a job admits, asked of the very state that Flower's SuperLink keeps in SQLite."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.common.constant import NOOP_ACCOUNT_NAME, NOOP_FLWR_AID, Status
from flwr.common.serde import user_config_to_proto
from flwr.proto.control_pb2 import ListRunsResponse
from flwr.proto.run_pb2 import Run, RunStatus
from flwr.supercore.auth.typing import AccountInfo
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.superlink.servicer.control import control_handlers
from hypothesis import given
from hypothesis import strategies as st

from fedethics.errors import SetupError
from fedethics.flower import control_api, submission
from fedethics.flower.control_api import Control, Job

ACCOUNT = AccountInfo(flwr_aid=NOOP_FLWR_AID, account_name=NOOP_ACCOUNT_NAME)


class Client:
    """The control client, less the network: each call goes to Flower's own handler."""

    def __init__(self, state):
        self._state = state

    def RegisterNode(self, request):
        return control_handlers.register_node(request, ACCOUNT, self._state)

    def UnregisterNode(self, request):
        return control_handlers.unregister_node(request, ACCOUNT, self._state)

    def ListNodes(self, request):
        return control_handlers.list_nodes(request, ACCOUNT, self._state)


@pytest.fixture
def state():
    from flwr.server.superlink.linkstate.sql_linkstate import SqlLinkState
    from flwr.supercore.object_store import ObjectStoreFactory
    from flwr.superlink.federation.noop_federation_manager import NoOpFederationManager

    state = SqlLinkState(":memory:", NoOpFederationManager(), ObjectStoreFactory().store())
    state.initialize()
    return state


@pytest.fixture
def control(state, monkeypatch):
    monkeypatch.setattr(
        control_api.ControlHttpClient, "from_server_address", lambda **_: Client(state)
    )
    return Control("127.0.0.1:1", ca=Path("unused"))


def write_key(folder, site):
    """Write a new node key over the site's old one; return it as Flower stores keys."""
    public = ec.generate_private_key(ec.SECP384R1()).public_key()
    line = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    (folder / f"{site}.pub").write_text(f"{line} {site}\n")
    return public_key_to_bytes(public)


def test_a_site_that_left_and_a_replaced_key_are_not_admitted_any_more(
    state, control, tmp_path, capsys
):
    keys = {site: write_key(tmp_path, site) for site in ("alpha", "beta", "gamma")}
    submission._admit(control, tmp_path, ["alpha", "beta", "gamma"])
    assert all(state.get_node_id_by_public_key(key) is not None for key in keys.values())
    assert "dropped" not in capsys.readouterr().out
    new = write_key(tmp_path, "beta")
    (tmp_path / "gamma.pub").unlink()
    submission._admit(control, tmp_path, ["alpha", "beta"])
    # What Flower's fleet path asks at every call of a node.
    admitted = {
        name: state.get_node_id_by_public_key(key) is not None
        for name, key in (*keys.items(), ("beta, new", new))
    }
    assert admitted == {"alpha": True, "beta": False, "gamma": False, "beta, new": True}
    assert '"dropped", "sites": ["beta", "gamma"]' in capsys.readouterr().out


def test_admitting_the_same_nodes_again_changes_nothing(state, control, tmp_path):
    key = write_key(tmp_path, "alpha")
    submission._admit(control, tmp_path, ["alpha"])
    first = state.get_node_id_by_public_key(key)
    submission._admit(control, tmp_path, ["alpha"])
    assert state.get_node_id_by_public_key(key) == first is not None


def test_a_key_that_was_dropped_is_refused_by_name_and_not_taken_for_admitted(
    state, control, tmp_path
):
    write_key(tmp_path, "alpha")
    submission._admit(control, tmp_path, ["alpha"])
    assert control.unregister_others([]) == ("alpha",)
    with pytest.raises(SetupError, match="'alpha' was taken off this job"):
        submission._admit(control, tmp_path, ["alpha"])


class Runs:
    """Stands for the control client: lists runs of several jobs, and remembers what is stopped."""

    def __init__(self, *runs):
        self._runs = {number: run for number, run in enumerate(runs, start=1)}
        self.stopped: list[int] = []

    def ListRuns(self, request):
        return ListRunsResponse(run_dict=self._runs)

    def StopRun(self, request):
        self.stopped.append(request.run_id)


def _run(home, job, status=Status.RUNNING):
    config = user_config_to_proto({"coordinator-home": home, "job-id": job})
    return Run(override_config=config, status=RunStatus(status=status))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["/a", "/b", "", "/a/"]),
            st.sampled_from(["one", "two", ""]),
            st.sampled_from([Status.PENDING, Status.RUNNING, Status.FINISHED]),
        ),
        max_size=8,
    )
)
def test_a_submission_stops_what_its_own_job_left_running_and_no_other_run(listed):
    runs = Runs(*(_run(*one) for one in listed), Run(status=RunStatus(status=Status.RUNNING)))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(control_api.ControlHttpClient, "from_server_address", lambda **_: runs)
        stopped = Control("unix:x").stop_unfinished(job=Job("/a", "one"))
    own = [
        number
        for number, one in enumerate(listed, start=1)
        if one[:2] == ("/a", "one") and one[2] != Status.FINISHED
    ]
    assert sorted(stopped) == sorted(runs.stopped) == own


def test_the_name_of_each_admitted_node_is_known(state, control, tmp_path):
    for site in ("alpha", "beta"):
        write_key(tmp_path, site)
    submission._admit(control, tmp_path, ["alpha", "beta"])
    assert sorted(control.names().values()) == ["alpha", "beta"]
    control.unregister_others([tmp_path / "alpha.pub"])
    assert list(control.names().values()) == ["alpha"]
