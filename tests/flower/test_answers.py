"""A SuperNode's message has an answer in the end, however its executor ends; what Flower does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.constant import SubStatus
from flwr.common.serde import message_to_proto
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    PullAppMessagesRequest,
    PushAppMessagesRequest,
    PushTaskOutputRequest,
)
from flwr.supercore.constant import TaskType
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.object_store.in_memory_object_store import InMemoryObjectStore
from flwr.supernode.nodestate import InMemoryNodeState, nodestate_factory
from flwr.supernode.servicer.runtime import runtime_handlers as handlers

from fedethics.flower.patches import answers
from fedethics.flower.patches.answers import AnsweringNodeState
from tests.inprocess import enter_task, wire_copy

RUN = 5


@dataclass
class Node:
    """A SuperNode's memory, and what SuperNode and executor do to it, by Flower's own handlers."""

    state: InMemoryNodeState

    def takes(self, kind: str = TaskType.CLIENT_APP) -> Message:
        """Let the SuperNode take a message from its SuperLink."""
        assert self.state.create_task(kind, RUN, fab_hash="f") is not None
        enter_task(run_id=RUN, node_id=9)
        message = Message(RecordDict({"asked": ConfigRecord({"n": 1})}), 9, "query.announce")
        message = wire_copy(message, message_id="m")
        self.state._store_generated_message(message)
        message.metadata.__dict__["_message_id"] = message.object_id
        self.state.store_message(message)
        return message

    def claims(self):
        """Let an executor claim the task and start on it."""
        claimed = self.claims_only()
        assert self.state.activate_task(claimed.task_id)
        return claimed

    def claims_only(self):
        request = AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP])
        answer = handlers.acquire_task(request, self.state)
        assert answer.token
        return answer.task

    def fetches(self, task) -> None:
        assert handlers.pull_messages(PullAppMessagesRequest(), self.state, task).messages_list

    def sends(self, task, message: Message, *, parts: int | None = None) -> Message:
        """Send an answer, or only some of its parts."""
        reply = Message(
            RecordDict({"told": ArrayRecord({"x": Array(np.arange(4.0))})}), reply_to=message
        )
        reply.metadata.__dict__["_message_id"] = reply.object_id
        with no_object_id_recompute():
            request = PushAppMessagesRequest(
                messages_list=[message_to_proto(remove_content_from_message(reply))],
                message_object_trees=[get_object_tree(reply)],
            )
            session = handlers.push_messages(request, self.state, task).session_id
            for name, part in list(get_all_nested_objects(reply).items())[:parts]:
                assert self.state.store_object(RUN, session, name, part.deflate())
        return reply

    def ends(self, task, sub_status: str) -> None:
        handlers.push_task_output(PushTaskOutputRequest(sub_status=sub_status), self.state, task)

    def dies(self, task) -> None:
        """Let the time pass after which Flower counts a silent executor as dead."""
        self.state.task_token_store[task.task_id].active_until -= timedelta(hours=1)

    def replies(self) -> list[Message]:
        return list(self.state.get_messages_legacy(is_reply=True))


def _node(kind: type[InMemoryNodeState] = AnsweringNodeState) -> Node:
    return Node(kind(InMemoryObjectStore()))


def _dies_before_it_fetched(node: Node) -> Message:
    message = node.takes()
    node.dies(node.claims())
    return message


def _could_not_read_it(node: Node) -> Message:
    message = node.takes()
    task = node.claims()
    node.fetches(task)
    node.ends(task, SubStatus.FAILED)
    return message


def _dies_while_it_answers(node: Node) -> Message:
    message = node.takes()
    task = node.claims()
    node.fetches(task)
    node.sends(task, message, parts=1)
    node.dies(task)
    return message


def _dies_while_it_works(node: Node) -> Message:
    message = node.takes()
    task = node.claims()
    node.fetches(task)
    node.dies(task)
    return message


HOW = [_dies_before_it_fetched, _could_not_read_it, _dies_while_it_answers, _dies_while_it_works]


@pytest.mark.parametrize("ends", HOW)
def test_a_message_that_nobody_will_answer_is_answered_with_an_error(ends):
    node = _node()
    message = ends(node)
    (reply,) = node.replies()
    assert reply.has_error()
    assert reply.metadata.reply_to_message_id == message.metadata.message_id
    assert node.replies() == []
    # Whoever sends it on finds every part of it.
    tree = node.state.object_store.get_object_tree(reply.metadata.message_id)
    assert node.state.object_store.get(tree.object_id)
    # And the next message is handled as if nothing had been.
    node.state.delete_messages(message_ids=[message.metadata.message_id])
    _is_answered(node)


def _is_answered(node: Node) -> None:
    message = node.takes()
    task = node.claims()
    node.fetches(task)
    sent = node.sends(task, message)
    node.ends(task, SubStatus.COMPLETED)
    assert [reply.metadata.message_id for reply in node.replies()] == [sent.metadata.message_id]
    assert node.replies() == []


@pytest.mark.parametrize("ends", HOW[:2])
def test_flower_by_itself_waits_for_such_an_answer_without_end(ends):
    # When this fails, Flower has mended it and `answers` has less to do.
    node = _node(InMemoryNodeState)
    ends(node)
    assert node.replies() == []


def test_flower_by_itself_hands_out_an_answer_whose_parts_will_never_come():
    node = _node(InMemoryNodeState)
    _dies_while_it_answers(node)
    (reply,) = node.replies()
    assert not reply.has_error()
    assert not all(map(node.state.object_store.get, _parts(node, reply)))


def _parts(node: Node, reply: Message) -> list[str]:
    tree = node.state.object_store.get_object_tree(reply.metadata.message_id)
    return [part.object_id for part in answers.iterate_object_tree(tree)]


def test_an_answer_is_sent_on_as_it_is_once_its_task_has_ended():
    node = _node()
    message = node.takes()
    task = node.claims()
    node.fetches(task)
    assert node.replies() == []
    sent = node.sends(task, message)
    assert node.replies() == []
    node.ends(task, SubStatus.COMPLETED)
    (reply,) = node.replies()
    assert reply.metadata.message_id == sent.metadata.message_id
    assert all(map(node.state.object_store.get, _parts(node, reply)))


def test_a_task_that_was_claimed_and_not_begun_is_left_for_the_next_executor():
    node = _node()
    message = node.takes()
    node.dies(node.claims_only())
    assert node.replies() == []
    task = node.claims()
    node.fetches(task)
    node.sends(task, message)
    node.ends(task, SubStatus.COMPLETED)
    (reply,) = node.replies()
    assert not reply.has_error()


def test_a_message_of_a_run_of_another_kind_is_answered_since_nobody_here_takes_it():
    # The SuperLink declares of what kind a run is; an executor of ours claims client tasks only.
    node = _node()
    message = node.takes(TaskType.AGENT_APP)
    (reply,) = node.replies()
    assert reply.has_error()
    assert reply.metadata.reply_to_message_id == message.metadata.message_id
    stock = _node(InMemoryNodeState)
    stock.takes(TaskType.AGENT_APP)
    assert stock.replies() == []


def test_no_reply_says_how_long_the_site_computed():
    for kind, told in ((InMemoryNodeState, True), (AnsweringNodeState, False)):
        node = _node(kind)
        message = node.takes()
        task = node.claims()
        node.fetches(task)
        node.sends(task, message)
        node.ends(task, SubStatus.COMPLETED)
        took_s = node.state.get_message_processing_duration(message.metadata.message_id)
        assert (took_s > 0) is told


def test_the_state_is_put_in_place_where_flowers_node_makes_its_own(monkeypatch):
    monkeypatch.setattr(nodestate_factory, "InMemoryNodeState", InMemoryNodeState)
    answers.install()
    factory = nodestate_factory.NodeStateFactory(type("F", (), {"store": InMemoryObjectStore})())
    assert isinstance(factory.state(), AnsweringNodeState)
