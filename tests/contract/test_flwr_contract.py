"""What fedethics uses of flwr's private modules, one test each; a version that moves one fails."""

from __future__ import annotations

import tomllib
from importlib.metadata import version

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from fedethics.flower.pin import ALLOWED
from tests.inprocess import COORDINATOR_NODE, empty_run, enter_task, wire_copy


def test_the_version_is_one_that_this_was_tested_with(root):
    wanted = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pin = next(line for line in wanted["dependencies"] if line.startswith("flwr"))
    assert pin == ALLOWED
    assert wanted["optional-dependencies"]["ray"] == [pin.replace("flwr", "flwr[simulation]")]
    assert version("flwr").rpartition(".")[0] in {"1.41", "1.42"}


def test_a_message_can_be_made_outside_of_flowers_processes_once_the_task_is_entered():
    enter_task(run_id=5, node_id=COORDINATOR_NODE)
    message = Message(RecordDict({"c": ConfigRecord({"a": 1})}), 9, "query.announce", ttl=3.0)
    assert (message.metadata.run_id, message.metadata.src_node_id) == (5, COORDINATOR_NODE)


def test_a_wire_copy_shares_no_object_and_keeps_content_and_id():
    enter_task(run_id=5, node_id=COORDINATOR_NODE)
    message = Message(RecordDict({"c": ConfigRecord({"a": b"\x00"})}), 9, "train.default")
    copied = wire_copy(message, message_id="m-1")
    assert copied.metadata.message_id == "m-1"
    assert copied.content["c"] == message.content["c"]
    copied.content["c"]["a"] = b"\x01"
    assert message.content["c"]["a"] == b"\x00"


def test_a_reply_names_the_message_by_the_id_we_gave_it():
    enter_task(run_id=5, node_id=COORDINATOR_NODE)
    asked = wire_copy(Message(RecordDict(), 9, "query.join"), message_id="m-2")
    assert Message(RecordDict(), reply_to=asked).metadata.reply_to_message_id == "m-2"


def test_an_empty_run_has_its_id():
    assert empty_run(5).run_id == 5


def test_the_apps_are_what_flower_loads_by_name():
    from clients.app import app as client_app
    from server.app import app as server_app

    assert isinstance(client_app, ClientApp)
    assert isinstance(server_app, ServerApp)
