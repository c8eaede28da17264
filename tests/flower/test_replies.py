"""A reply that cannot be rebuilt costs the coordinator that reply, and no other."""

from __future__ import annotations

import time
from collections.abc import Iterable
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

from fedethics.flower.patches import replies as replies_module
from fedethics.flower.wire import parse_reply, reply_message, request_message
from fedethics.protocol import Action, Reply, Request
from tests.inprocess import empty_run, enter_task, wire_copy


class SuperLink:
    """Holds replies as the SuperLink does: messages, trees, and the objects that they are of."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.objects: dict[str, bytes] = {}
        self.confirmed = 0
        self.on_the_way: set[str] = set()
        self.asked: list[str] = []

    def add(self, reply: Message) -> None:
        reply.metadata.__dict__["_message_id"] = reply.object_id  # as Flower does before it pushes
        self.messages.append(reply)
        found = get_all_nested_objects(reply)
        self.objects |= {object_id: part.deflate() for object_id, part in found.items()}

    def PullMessages(self, request):
        wanted = set(request.message_ids)
        given = [each for each in self.messages if each.metadata.reply_to_message_id in wanted]
        self.messages = [each for each in self.messages if each not in given]  # once, as it does
        return SimpleNamespace(
            messages_list=[message_to_proto(remove_content_from_message(each)) for each in given],
            message_object_trees=[get_object_tree(each) for each in given],
        )

    def PullObject(self, request):
        self.asked.append(request.object_id)
        if request.object_id in self.on_the_way:
            return SimpleNamespace(object_found=True, object_available=False)
        if request.object_id not in self.objects:
            return SimpleNamespace(object_found=False, object_available=False)
        content = self.objects[request.object_id]
        return SimpleNamespace(object_found=True, object_available=True, object_content=content)

    def ConfirmMessageReceived(self, _request):
        self.confirmed += 1


@pytest.fixture
def link(monkeypatch):
    enter_task(run_id=1, node_id=1)
    # As Flower comes: a test that ran the ServerApp in this process has contained them already.
    monkeypatch.setattr(http_grid, "pull_objects", pull_objects)
    monkeypatch.setattr(HttpGrid, "pull_messages", replies_module._flowers_pull_messages)
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


def _grid() -> HttpGrid:
    grid = HttpGrid(token="t")
    grid._run = empty_run(1)
    return grid


def _pull(grid: HttpGrid, numbers: Iterable[int] = range(3)) -> dict[str, Message]:
    found = grid.pull_messages([f"question-{number}" for number in numbers])
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
        _pull(_grid())
    replies_module.install()
    link.messages, link.confirmed = replies, 0
    found = _pull(_grid())
    assert parse_reply(found["question-0"]).payloads == {"acknowledgement": b"\x00"}
    assert parse_reply(found["question-2"]).payloads == {"acknowledgement": b"\x02"}
    assert parse_reply(found["question-1"]).refusal.code == "flower-3"
    assert link.confirmed == 2


def _late(link: SuperLink, *, parts: type = ConfigRecord) -> list[Message]:
    """Three replies have come; of the second, parts are on their way."""
    replies = [_reply(number) for number in range(3)]
    for reply in replies:
        link.add(reply)
    found = get_all_nested_objects(replies[1]).items()
    link.on_the_way = {object_id for object_id, part in found if type(part) is parts}
    link.on_the_way -= set(get_all_nested_objects(replies[0]))
    assert link.on_the_way
    return replies


@pytest.mark.timeout(120)
def test_a_reply_with_parts_on_the_way_keeps_no_other_waiting_and_comes_when_it_is_whole(link):
    _late(link)
    replies_module.install()
    grid = _grid()
    assert set(_pull(grid)) == {"question-0", "question-2"}  # Flower's own would wait for hours
    assert _pull(grid, [1]) == {}
    link.on_the_way.clear()
    found = _until_come(grid, [1])
    assert parse_reply(found["question-1"]).payloads == {"acknowledgement": b"\x01"}
    assert link.confirmed == 3
    assert _pull(grid, [1]) == {}


def _until_come(grid: HttpGrid, numbers: list[int]) -> dict[str, Message]:
    deadline = time.monotonic() + 60.0
    while not (found := _pull(grid, numbers)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def test_a_reply_that_the_superlink_gives_up_is_unavailable(link):
    _late(link)
    replies_module.install()
    grid = _grid()
    _pull(grid)
    for object_id in link.on_the_way:
        del link.objects[object_id]
    link.on_the_way.clear()
    found = _until_come(grid, [1])
    assert parse_reply(found["question-1"]).refusal.code == "flower-3"


def test_a_reply_that_came_whole_while_others_were_asked_for_is_not_lost(link):
    _late(link)
    replies_module.install()
    grid = _grid()
    _pull(grid)
    link.on_the_way.clear()
    _until_done(grid)
    assert _pull(grid, [7]) == {}
    assert parse_reply(_pull(grid, [1])["question-1"]).payloads == {"acknowledgement": b"\x01"}


def test_replies_that_nobody_waits_for_any_more_do_not_pile_up(link):
    _late(link)
    replies_module.install()
    grid = _grid()
    _pull(grid)
    assert _pull(grid, [7]) == {}
    assert grid._aside  # still on its way, and not to be asked for a second time
    link.on_the_way.clear()
    _until_done(grid)
    for _ in range(replies_module._LOOKS):
        assert grid._aside
        assert _pull(grid, [7]) == {}
    assert not grid._aside


def _until_done(grid: HttpGrid) -> None:
    (aside,) = grid._aside.values()
    aside.outcome.exception(timeout=60.0)


def test_flower_by_itself_lets_one_reply_keep_the_others_waiting(link, monkeypatch):
    # When this fails, Flower has mended it and `replies` has less to do.
    def impatient(object_ids, pull_object_fn):
        return pull_objects(object_ids, pull_object_fn, max_time=1.0, initial_backoff=0.1)

    monkeypatch.setattr(http_grid, "pull_objects", impatient)
    _late(link)
    began = time.monotonic()
    _pull(_grid())
    assert time.monotonic() - began >= 1.0
