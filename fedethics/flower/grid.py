"""Flower's grid as the coordinator's transport, and the body of the ServerApp."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from flwr.app import Context, Message
from flwr.serverapp import Grid

from fedethics.coordinator.job import RunSettings
from fedethics.coordinator.run import run_job
from fedethics.coordinator.transport import Arrival
from fedethics.errors import SecaggReject
from fedethics.flower.patches import pulls, replies
from fedethics.flower.pin import end_with_coordinator
from fedethics.flower.wire import is_lost, parse_reply, request_message
from fedethics.protocol import Reply, Request


def coordinate(grid: Grid, context: Context) -> None:
    """Run the job of a run config, or what is left of it, over Flower's grid.

    Raises:
        FedethicsError: it cannot start or finish; what was committed stays.
    """
    end_with_coordinator()
    pulls.install()
    replies.install()
    run_job(GridTransport(grid), RunSettings.from_run_config(context.run_config))


@dataclass(frozen=True, slots=True)
class GridTransport:
    """Carries requests as Flower messages."""

    grid: Grid

    def nodes(self) -> tuple[int, ...]:
        """Return the nodes that are connected now."""
        return tuple(self.grid.get_node_ids())

    def send(self, requests: Mapping[int, Request], *, ttl_s: float) -> dict[str, int]:
        """Send each node its request; return the node of each message that went out."""
        messages = [
            request_message(request, node_id=node, ttl_s=ttl_s, group=str(request.action))
            for node, request in requests.items()
        ]
        ids = self.grid.push_messages(messages)
        return {key: node for key, node in zip(ids, requests, strict=True) if key}

    def receive(self, message_ids: Collection[str]) -> Iterator[Arrival]:
        """Yield what has come for these messages."""
        for message in self.grid.pull_messages(list(message_ids)):
            yield Arrival(
                message_id=message.metadata.reply_to_message_id,
                reply=_read(message),
                from_node=not message.has_error(),
                lost=is_lost(message),
            )


def _read(message: Message) -> Reply | None:
    try:
        return parse_reply(message)
    except SecaggReject:
        return None
