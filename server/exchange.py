"""Ask many nodes at once and take what comes back before the deadline.

Replies are mapped by the message they answer, never by who claims to have sent them: Flower's own
error replies carry the coordinator's node id. A late reply is left unread.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from flwr.serverapp import Grid

from fedethics.errors import SecaggReject
from fedethics.flower.wire import parse_reply, request_message
from fedethics.protocol import Refusal, Reply, Request

_LATE = Refusal(code="late", sentence="no reply before the deadline")
_MALFORMED = Refusal(code="malformed", sentence="the reply could not be read")


@dataclass(frozen=True, slots=True)
class Exchange:
    """Sends requests through Flower's grid and waits for the replies of one leg."""

    grid: Grid
    leg_timeout_s: float
    poll_s: float = 0.2

    def nodes(self) -> tuple[int, ...]:
        """Return the nodes that are connected now."""
        return tuple(self.grid.get_node_ids())

    def ask(self, requests: Mapping[int, Request]) -> dict[int, Reply]:
        """Send each node its request; a node that stays silent has a refusal in the result."""
        nodes = list(requests)
        messages = [
            request_message(
                requests[node],
                node_id=node,
                ttl_s=self.leg_timeout_s,
                group=str(requests[node].action),
            )
            for node in nodes
        ]
        ids = list(self.grid.push_messages(messages))
        waiting = {
            message_id: node for message_id, node in zip(ids, nodes, strict=True) if message_id
        }
        replies: dict[int, Reply] = dict.fromkeys(nodes, Reply(refusal=_LATE))
        deadline = time.monotonic() + self.leg_timeout_s
        while waiting and time.monotonic() < deadline:
            for message in self.grid.pull_messages(list(waiting)):
                node = waiting.pop(message.metadata.reply_to_message_id, None)
                if node is not None:
                    replies[node] = _read(message)
            if waiting:
                time.sleep(self.poll_s)
        return replies


def _read(message: object) -> Reply:
    try:
        return parse_reply(message)  # type: ignore[arg-type]
    except SecaggReject:
        return Reply(refusal=_MALFORMED)
