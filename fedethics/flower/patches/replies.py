"""A reply that cannot be rebuilt, or is not complete, affects only the site that sent it.

Flower's grid takes all replies that have come in one loop and rebuilds each from parts that its
sender chose. What cannot be rebuilt raises whatever it raises; that would end the ServerApp, and
take with it the replies of other sites in the same loop. A reply counts as received when it is
announced. The loop then waits until its parts are there, for minutes if the sender delays them,
while the deadline of all others passes. Here each reply is tried once, what fails counts as
unavailable, which is Flower's own word for a reply that never became whole, and one that has parts
missing is waited for aside.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass

import httpx
from flwr.app import Message
from flwr.proto import message_pb2, runtime_pb2
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectUnavailableError,
    inflate_object_from_contents,
    pull_objects,
)
from flwr.superlink.grid import http_grid
from flwr.superlink.grid.http_grid import HttpGrid

# A reply that is whole, and that so many looks did not ask for, was given up. (One look is not
# enough: whoever asks for two lots of replies asks for them in turn.)
_LOOKS = 8
_flowers_pull_messages = HttpGrid.pull_messages
_thread = threading.local()


class _NotWhole(Exception):
    """A part of a reply is still on its way."""


def install() -> None:
    """Let this process's grid survive any reply, and wait for none that others wait behind."""
    http_grid.pull_objects = _pull_checked  # type: ignore[attr-defined,assignment]
    HttpGrid.pull_messages = _pull_messages  # type: ignore[method-assign,assignment]


def _pull_messages(grid: HttpGrid, message_ids: Iterable[str]) -> list[Message]:
    """Return the replies to `message_ids` that are whole by now."""
    aside: dict[str, _Aside] = grid.__dict__.setdefault("_aside", {})
    asked = set(message_ids)
    found: list[Message] = []
    for reply in _come(grid, [each for each in asked if each not in aside]):
        try:
            found += reply.pulled()
        except _NotWhole:
            aside[reply.question] = _Aside(reply.pulled_aside())
    for question, each in [pair for pair in aside.items() if pair[1].outcome.done()]:
        if question in asked:
            found += aside.pop(question).outcome.result()
        elif each.passed_over():
            del aside[question]
    return found


def _come(grid: HttpGrid, message_ids: list[str]) -> list[_Reply]:
    if not message_ids:
        return []
    request = runtime_pb2.PullAppMessagesRequest(message_ids=message_ids)
    try:
        come = grid._runtime_client.PullMessages(request)
    except httpx.HTTPStatusError as error:
        if error.response.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE:
            return []  # as Flower's own
        raise
    pairs = zip(come.messages_list, come.message_object_trees, strict=True)
    return [_Reply(grid, message, tree) for message, tree in pairs]


@dataclass(slots=True)
class _Aside:
    """A reply that is pulled in a thread, and how often it was passed over once it was whole."""

    outcome: Future[list[Message]]
    looks: int = 0

    def passed_over(self) -> bool:
        """Count one more look that did not ask for it; say whether it is given up."""
        self.looks += 1
        return self.looks >= _LOOKS


@dataclass(frozen=True, slots=True)
class _Reply:
    """One reply that was announced: its message without content, and the tree of its parts."""

    grid: HttpGrid
    message: message_pb2.Message
    tree: message_pb2.ObjectTree

    @property
    def question(self) -> str:
        return str(self.message.metadata.reply_to_message_id)

    def pulled(self, *, patiently: bool = False) -> list[Message]:
        """Let Flower's grid pull and rebuild this reply alone.

        Raises:
            _NotWhole: a part is still on its way; never if `patiently`.
        """
        _thread.patient = patiently
        try:
            found = list(_flowers_pull_messages(_GridOfOne(self), [self.question]))
        finally:
            _thread.patient = True
        for message in found:
            # What was announced counts: the rebuilt one may name the question of another site.
            message.metadata.__dict__["_reply_to_message_id"] = self.question
        return found

    def pulled_aside(self) -> Future[list[Message]]:
        """Pull in a thread of its own, which ends when the SuperLink gives the reply up."""
        outcome: Future[list[Message]] = Future()

        def pull() -> None:
            try:
                outcome.set_result(self.pulled(patiently=True))
            except Exception as error:  # raised where the grid is asked next
                outcome.set_exception(error)

        threading.Thread(target=pull, name="reply", daemon=True).start()
        return outcome


class _GridOfOne(HttpGrid):
    """A grid to which one reply has come, and which is its own client."""

    def __init__(self, reply: _Reply) -> None:
        self._reply = reply
        self._run, self.node = reply.grid._run, reply.grid.node

    @property
    def _runtime_client(self) -> _GridOfOne:  # type: ignore[override]
        return self

    def PullMessages(self, _request: object) -> runtime_pb2.PullAppMessagesResponse:
        return runtime_pb2.PullAppMessagesResponse(
            messages_list=[self._reply.message], message_object_trees=[self._reply.tree]
        )

    def PullObject(self, request: message_pb2.PullObjectRequest) -> object:
        return self._reply.grid._runtime_client.PullObject(request)

    def ConfirmMessageReceived(self, request: message_pb2.ConfirmMessageReceivedRequest) -> object:
        return self._reply.grid._runtime_client.ConfirmMessageReceived(request)


def _pull_checked(
    object_ids: list[str], pull_object_fn: Callable[[str], bytes]
) -> dict[str, bytes]:
    """Pull the parts of one reply, and see that they make a message."""

    def once(object_id: str) -> bytes:
        try:
            return pull_object_fn(object_id)
        except ObjectUnavailableError:
            raise _NotWhole from None

    patient = getattr(_thread, "patient", True)
    contents = pull_objects(object_ids, pull_object_fn if patient else once)
    _rebuild(object_ids[-1], contents)  # children first, so the last one is the whole
    return contents


def _rebuild(root: str, contents: dict[str, bytes]) -> None:
    try:
        whole = inflate_object_from_contents(root, dict(contents), keep_object_contents=True)
    except Exception as error:  # nobody lists in how many ways a part may be wrong
        raise ObjectPullError(root, f"it cannot be rebuilt ({type(error).__name__})") from error
    if not isinstance(whole, Message):
        raise ObjectPullError(root, "it is no message")
