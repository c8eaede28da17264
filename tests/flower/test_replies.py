"""A reply that cannot be rebuilt costs the coordinator that reply, and no other."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from flwr.app import ConfigRecord, Message
from flwr.app.message.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.recorddict_pb2 import ConfigRecord as ConfigRecordProto
from flwr.supercore.inflatable.inflatable_object import (
    add_header_to_object_body,
    get_all_nested_objects,
    get_object_tree,
)
from flwr.supercore.inflatable.inflatable_utils import pull_objects
from flwr.superlink.grid import http_grid
from flwr.superlink.grid.http_grid import HttpGrid

from fedethics.flower.inprocess import empty_run, enter_task, wire_copy
from fedethics.flower.replies import contain_bad_replies
from fedethics.flower.wire import parse_reply, reply_message, request_message
from fedethics.protocol import Action, Reply, Request


class SuperLink:
    """Holds replies as the SuperLink does: messages, trees, and the objects that they are of."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.objects: dict[str, bytes] = {}
        self.confirmed = 0

    def add(self, reply: Message) -> None:
        reply.metadata.__dict__["_message_id"] = reply.object_id  # as Flower does before it pushes
        self.messages.append(reply)
        found = get_all_nested_objects(reply)
        self.objects |= {object_id: part.deflate() for object_id, part in found.items()}

    def PullMessages(self, _request):
        return SimpleNamespace(
            messages_list=[
                message_to_proto(remove_content_from_message(each)) for each in self.messages
            ],
            message_object_trees=[get_object_tree(each) for each in self.messages],
        )

    def PullObject(self, request):
        content = self.objects[request.object_id]
        return SimpleNamespace(object_found=True, object_available=True, object_content=content)

    def ConfirmMessageReceived(self, _request):
        self.confirmed += 1


@pytest.fixture
def link(monkeypatch):
    enter_task(run_id=1, node_id=1)
    # As Flower comes: a test that ran the ServerApp in this process has contained them already.
    monkeypatch.setattr(http_grid, "pull_objects", pull_objects)
    link = SuperLink()
    monkeypatch.setattr(HttpGrid, "_runtime_client", link)
    return link


def _reply(number: int) -> Message:
    request = Request(action=Action.JOIN, charter_hash="ab" * 32, run="run")
    asked = request_message(request, node_id=7, ttl_s=60.0, group="1")
    asked = wire_copy(asked, message_id=f"question-{number}")
    return reply_message(Reply(payloads={"acknowledgement": bytes([number])}), to=asked)


def _spoil(link: SuperLink, reply: Message, part: type, content: bytes) -> None:
    for object_id, each in get_all_nested_objects(reply).items():
        if type(each) is part:
            link.objects[object_id] = content


def _valueless() -> bytes:
    item = ConfigRecordProto.Item(key="protocol")
    return add_header_to_object_body(
        ConfigRecordProto(items=[item]).SerializeToString(), ConfigRecord({})
    )


def _pull(link: SuperLink) -> dict[str, Message]:
    grid = HttpGrid(token="t")
    grid._run = empty_run(1)
    found = grid.pull_messages([])
    return {message.metadata.reply_to_message_id: message for message in found}


@pytest.mark.parametrize(
    ("part", "content"),
    [
        (ConfigRecord, _valueless()),
        (ConfigRecord, b"ConfigRecord  3\x00\xff\xff\xff"),
        (ConfigRecord, b"no header"),
        (Message, add_header_to_object_body(b"", ConfigRecord({}))),  # whole, but no message
    ],
)
def test_one_bad_reply_is_that_sites_loss_and_the_others_arrive(link, part, content):
    replies = [_reply(number) for number in range(3)]
    for reply in replies:
        link.add(reply)
    _spoil(link, replies[1], part, content)
    with pytest.raises(Exception):  # noqa: B017  whatever it is: Flower's grid as it comes
        _pull(link)
    contain_bad_replies()
    link.confirmed = 0
    found = _pull(link)
    assert parse_reply(found["question-0"]).payloads == {"acknowledgement": b"\x00"}
    assert parse_reply(found["question-2"]).payloads == {"acknowledgement": b"\x02"}
    assert parse_reply(found["question-1"]).refusal.code == "flower-3"
    assert link.confirmed == 2
