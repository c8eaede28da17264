"""What the executor, the paced SuperNode and the submission use of flwr's private modules.

One test for each thing used: another version of Flower fails here, by name, and not in a hospital.
"""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from flwr.app import Message, RecordDict
from flwr.supercore.inflatable import inflatable_utils
from flwr.supernode import start_client_internal
from packaging.requirements import Requirement

from fedethics import installation
from fedethics.deployment.site_node import answer_is_out
from fedethics.errors import SetupError
from fedethics.flower import control_api, pin, runtime_api, submission, superlink, supernode
from fedethics.flower.patches import node_loop, pulls
from fedethics.flower.polling import Polling
from tools import offline_bundle

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("other", ["1.40.9", "1.43.0", "1.4.1", "1.430.0", "2.0rc1", "0.41", "?"])
def test_another_version_of_flower_is_refused_by_name(other, monkeypatch):
    monkeypatch.setattr(pin, "version", lambda _: other)
    with pytest.raises(SetupError, match=rf"{re.escape(other)} is installed.*flwr>=1.41,<1.43"):
        pin.require_flower()


VERSIONS = ("1.4.1", "1.40.9", "1.41.0", "1.41.7", "1.42.0", "1.42.0.post1", "1.43.0", "1.410.0")


@pytest.mark.parametrize("found", VERSIONS)
def test_a_version_is_allowed_everywhere_or_nowhere(found, monkeypatch):
    """Whether pip, the processes, doctor, the site's check and the offline bundle take it."""
    monkeypatch.setattr(pin, "version", lambda _: found)
    monkeypatch.setattr(installation, "version", lambda _: found)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (asked,) = [one for one in map(Requirement, project["dependencies"]) if one.name == "flwr"]
    allowed = asked.specifier.contains(found)
    try:
        pin.require_flower()
    except SetupError:
        started = False
    else:
        started = True
    (seen,) = [one for one in installation.packages() if one.name == "flwr"]
    bundled = f"flwr-{found}-py3-none-any.whl".startswith(offline_bundle.NEEDED[1])
    assert (started, seen.ok, bundled) == (allowed, allowed, allowed)


def test_the_version_installed_here_is_accepted():
    pin.require_flower()


def test_flowers_loop_takes_its_clock_from_the_name_that_we_replace():
    source = inspect.getsource(start_client_internal)
    uses = set(re.findall(r"\btime\.\w+\(.*\)", source))
    assert uses == {"time.sleep(3)", "time.sleep(0.5)"}
    assert start_client_internal.time is time


def test_flower_pauses_three_seconds_only_after_it_found_no_message():
    source = inspect.getsource(start_client_internal.start_client_internal)
    assert source.count("time.sleep(3)") == 1
    assert "if run_id is None:" in source.split("time.sleep(3)")[0].splitlines()[-3]


def test_the_words_by_which_a_stopping_node_knows_that_its_answer_is_out():
    source = inspect.getsource(start_client_internal)
    assert source.count('"Receiving: %s message (ID: %s)"') == 1
    assert source.count('"Sent successfully"') == 1
    assert source.count('"Failed to send message %s: %s"') == 1
    before, _, after = source.partition('"Sent successfully"')
    assert "Ignoring reply message" in after
    assert '"Sending: %s message (ID: %s)"' in before
    said = "INFO: Receiving: train.default message (ID: 1)"
    assert not answer_is_out(f"INFO: Sent successfully\n{said}\nINFO: Received successfully")
    assert answer_is_out(f"{said}\nINFO: Sent successfully")


def test_the_paced_clock_is_put_in_place_and_notes_contact(monkeypatch, tmp_path):
    monkeypatch.setattr(start_client_internal, "time", time)
    contact = tmp_path / "contact"
    paced = node_loop.PacedTime(Polling(fastest_s=0.0, slowest_s=0.0), contact=contact)
    node_loop.install(paced)
    slept: list[float] = []
    monkeypatch.setattr(node_loop.time, "sleep", slept.append)
    start_client_internal.time.sleep(3)
    assert slept == [0.0]
    assert contact.exists()


def test_a_waiting_reply_is_no_contact(tmp_path):
    contact = tmp_path / "contact"
    paced = node_loop.PacedTime(Polling(fastest_s=0.0, slowest_s=0.0), contact=contact)
    paced.sleep(0.5)
    assert not contact.exists()


@pytest.mark.parametrize("name", pulls.PULLING)
def test_the_pauses_between_pulls_are_keyword_defaults(name, monkeypatch):
    function = getattr(inflatable_utils, name)
    before = dict(function.__kwdefaults__)
    assert {"initial_backoff", "backoff_cap"} <= set(before)
    try:
        pulls.install()
        assert function.__kwdefaults__["initial_backoff"] == pulls.FIRST_PAUSE_S
    finally:
        function.__kwdefaults__.update(before)


def test_the_executor_asks_for_client_tasks_with_the_name_that_the_secret_signs():
    source = inspect.getsource(runtime_api.RuntimeHttpClient.AcquireTask)
    assert f'rpc_method="{runtime_api.ACQUIRE}"' in source
    assert runtime_api.TaskType.CLIENT_APP == "flwr-clientapp"


def test_a_task_is_pulled_as_message_context_run_and_bundle():
    annotation = inspect.signature(runtime_api.pull_task_input).return_annotation
    names = [each.__name__ for each in annotation.__args__]
    assert names == ["Message", "Context", "Run", "Fab"]
    assert list(inspect.signature(runtime_api.push_message).parameters) == [
        "client",
        "message",
        "context",
    ]
    assert {"client", "context", "sub_status", "details"} == set(
        inspect.signature(runtime_api.push_task_output).parameters
    )


def test_pulling_a_task_neither_unpacks_nor_loads_the_bundle():
    source = inspect.getsource(runtime_api.pull_task_input)
    for word in ("install_from_fab", "load_client_app", "import", "zipfile", "exec("):
        assert word not in source


def test_the_commands_that_our_processes_stand_for_exist():
    assert callable(supernode.flower_supernode)
    assert callable(superlink.flower_superlink)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (
            "flower-supernode",
            "--superlink --root-certificates --auth-supernode-private-key --isolation "
            "--superexec-auth-secret-file",
        ),
        (
            "flower-superlink",
            "--host --port --ssl-certfile --ssl-keyfile --ssl-ca-certfile --enable-supernode-auth "
            "--database --isolation --superexec-auth-secret-file "
            "--disable-runtime-dependency-installation",
        ),
        (
            "flower-superexec",
            "--runtime-api-address --root-certificates --superexec-auth-secret-file --parent-pid",
        ),
    ],
)
def test_flowers_commands_have_the_options_that_we_give_them(command, options):
    program = f"{sys.prefix}/bin/{command}"
    shown = subprocess.run([program, "--help"], capture_output=True, text=True, check=True)
    assert [option for option in options.split() if option not in shown.stdout] == []


def test_the_control_api_registers_lists_starts_and_stops():
    client = control_api.ControlHttpClient
    for name in ("RegisterNode", "UnregisterNode", "ListNodes", "StartRun", "ListRuns", "StopRun"):
        assert callable(getattr(client, name))
    fields = control_api.NodeInfo.DESCRIPTOR.fields_by_name
    assert {"node_id", "public_key", "name", "status"} <= set(fields)
    assert control_api.NodeStatus.ONLINE == "online"
    assert control_api.NodeStatus.UNREGISTERED == "unregistered"


def test_a_runs_status_tells_its_end_and_its_bytes():
    from flwr.proto.run_pb2 import Run, RunStatus

    run = Run(
        status=RunStatus(status="finished", sub_status="completed", details=""),
        bytes_sent=3,
        bytes_recv=4,
    )
    assert run.status.status == control_api.Status.FINISHED
    assert (run.bytes_sent, run.bytes_recv) == (3, 4)


def test_the_bundle_is_built_from_a_folder_and_holds_the_two_apps_only(root, tmp_path):
    import io
    import shutil
    import zipfile

    for name in ("server", "clients"):
        shutil.copytree(root / name, tmp_path / name)
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(root / name, tmp_path / name)
    listed = zipfile.ZipFile(io.BytesIO(control_api.build_fab_from_disk(tmp_path))).namelist()
    tops = {name.split("/")[0] for name in listed}
    assert tops <= {"server", "clients", "pyproject.toml", "LICENSE", "README.md", ".info"}
    assert "clients/app.py" in listed


def test_a_submission_that_is_told_to_end_raises_where_it_waits():
    with pytest.raises(submission.Told):
        submission._told(15, None)


def test_a_message_without_content_still_has_an_object_id():
    # push_message names the reply by it.
    from tests.inprocess import COORDINATOR_NODE, enter_task

    enter_task(run_id=5, node_id=COORDINATOR_NODE)
    assert len(Message(RecordDict(), 9, "query.join").object_id) == 64


def test_every_http_client_of_flower_is_made_where_we_bound_it():
    from flwr.supercore.protobuf import client

    made = [
        path.name
        for path in Path(client.__file__).parents[2].rglob("*.py")
        if "httpx.Client(" in path.read_text(encoding="utf-8")
    ]
    assert made == ["client.py"]
    source = inspect.getsource(client.ProtobufClient)
    names = set(re.findall(r"self\.(_\w+) = ", source))
    assert names == {"_base_url", "_interceptors", "_retry_invoker", "_client"}
    assert set(inspect.signature(client.ProtobufClient).parameters) == {
        "base_url",
        "interceptors",
        "verify",
        "timeout",
        "retry_invoker",
    }


def test_the_supernode_serves_its_executor_by_the_name_that_we_replace():
    command = importlib.import_module("flwr.supernode.cli.flower_supernode")
    source = inspect.getsource(command)
    assert set(re.findall(r"uvicorn\.\w+(?=\()", source)) == {"uvicorn.Server", "uvicorn.Config"}
    assert "target=server.run" in source
    assert "sockets" in inspect.signature(command.uvicorn.Server.run).parameters


def test_the_launcher_finds_its_executor_by_the_name_that_we_replace():
    from flwr.supercore.superexec import run_superexec
    from flwr.supercore.superexec.executor import factory

    source = inspect.getsource(factory.get_executor)
    assert source.count("return SubprocessExecutor()") == 1
    assert "executor.get_eligible_capacity(" in inspect.getsource(run_superexec.run_superexec)
