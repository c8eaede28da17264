"""Flower's Grid inside one process: the real ServerApp and ClientApp, no Ray, no network.

Simulations run without Flower (`fedethics.coordinator.transport.InProcess`); tests run both.

Every message is encoded and decoded as on the wire, so that the two sides share no object. About
1 ms a message, where Flower's own runtime takes half a minute to start.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.run import Run

from clients.app import app as client_app
from fedethics.simulation.staging import Stage
from server.app import app as server_app
from tests.inprocess import COORDINATOR_NODE, empty_run, enter_task, wire_copy

Fault = Callable[[str, Message], bool]
_RUN_ID = 1
_FIRST_NODE = 1001
_UNAVAILABLE = Error(code=5, reason="node unavailable")  # what Flower answers for a lost node


def no_fault(_site: str, _message: Message) -> bool:
    """Let every message through."""
    return False


@dataclass
class LoopbackGrid(Grid):
    """Answers each message at once by calling the site's ClientApp.

    Attributes:
        client_app: the app that every node runs.
        homes: site name -> home directory; one node for each, in sorted order.
        lost: says which message of which site is lost on the way, to simulate dropouts.
    """

    client_app: ClientApp
    homes: Mapping[str, Path]
    lost: Fault = no_fault
    _contexts: dict[int, Context] = field(default_factory=dict)
    _site_of: dict[int, str] = field(default_factory=dict)
    _replies: dict[str, Message] = field(default_factory=dict)
    _count: int = 0

    def __post_init__(self) -> None:
        """Give each site a node."""
        for offset, (site, home) in enumerate(sorted(self.homes.items())):
            node = _FIRST_NODE + offset
            self._site_of[node] = site
            self._contexts[node] = Context(
                run_id=_RUN_ID,
                node_id=node,
                node_config={"site-home": str(home)},
                state=RecordDict(),
                run_config={},
            )
        enter_task(run_id=_RUN_ID, node_id=COORDINATOR_NODE)

    def set_run(self, run: Run) -> None:
        """Take no other run: this grid is one run's."""

    @property
    def run(self) -> Run:
        """The in-process run."""
        return empty_run(_RUN_ID)

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Make a message, as Flower's deprecated API did."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Return every node."""
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Deliver each message and keep the reply until it is pulled."""
        return [self._deliver(message) for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies to `message_ids` that have come."""
        return [self._replies.pop(key) for key in message_ids if key in self._replies]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Push, then pull what came back."""
        ids = self.push_messages(messages)
        deadline = time.monotonic() + (timeout or 0.0)
        replies = list(self.pull_messages(ids))
        while len(replies) < len(list(ids)) and time.monotonic() < deadline:
            replies += self.pull_messages(ids)
        return replies

    def _deliver(self, message: Message) -> str:
        self._count += 1
        message_id = f"message-{self._count}"
        node = message.metadata.dst_node_id
        arrived = wire_copy(message, message_id=message_id)
        if self.lost(self._site_of[node], arrived):
            self._replies[message_id] = Message(_UNAVAILABLE, reply_to=arrived)
            return message_id
        enter_task(run_id=_RUN_ID, node_id=node)
        try:
            reply = self.client_app(arrived, self._contexts[node])
        finally:
            enter_task(run_id=_RUN_ID, node_id=COORDINATOR_NODE)
        self._replies[message_id] = wire_copy(reply, message_id=f"reply-{self._count}")
        return message_id


def run_federation(stage: Stage, *, resume: bool = False, lost: Fault = no_fault) -> Path:
    """Run one job, or what is left of it, over the real apps; return the run's directory.

    Raises:
        FedethicsError: the job cannot start or finish; what was committed stays.
    """
    grid = LoopbackGrid(client_app=client_app, homes=stage.homes, lost=lost)
    context = Context(
        run_id=1,
        node_id=COORDINATOR_NODE,
        node_config={},
        state=RecordDict(),
        run_config={
            "coordinator-home": str(stage.coordinator),
            "job-dir": str(stage.run_dir),
            "job-id": stage.run_dir.name,
            "leg-timeout-s": 600.0,
            "model-dir": "",
            "resume": resume,
        },
    )
    server_app(grid, context)
    return stage.run_dir
