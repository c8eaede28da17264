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
from fedethics.protocol import Action, Refusal, Reply, Request
from server.refusals import UNSOUND

_LATE = Refusal(code="late", sentence="no reply before the deadline")
_MALFORMED = Refusal(code=UNSOUND, sentence="the reply could not be read")


@dataclass(frozen=True, slots=True)
class Exchange:
    """Sends requests through Flower's grid and waits for the replies of one leg.

    Attributes:
        grid: Flower's.
        work_timeout_s: how long a site may train or measure.
        relay_timeout_s: how long it may take over every other leg.
        poll_s: pause between two looks at the grid.
    """

    grid: Grid
    work_timeout_s: float
    relay_timeout_s: float
    poll_s: float = 0.2

    def nodes(self) -> tuple[int, ...]:
        """Return the nodes that are connected now."""
        return tuple(self.grid.get_node_ids())

    def timeout_s(self, action: Action) -> float:
        """Return how long the slowest site may take to answer `action`."""
        works = action in {Action.TRAIN, Action.EVALUATE}
        return self.work_timeout_s if works else self.relay_timeout_s

    def ask(self, action: Action, requests: Mapping[int, Request]) -> dict[int, Reply]:
        """Send each node its request; a node that stays silent has a refusal in the result.

        A reply to another message, a second one to the same, and one that comes after the
        deadline are left unread.
        """
        timeout_s = self.timeout_s(action)
        nodes = list(requests)
        messages = [
            request_message(
                requests[node],
                node_id=node,
                ttl_s=timeout_s,
                group=str(action),
            )
            for node in nodes
        ]
        ids = list(self.grid.push_messages(messages))
        waiting = {
            message_id: node for message_id, node in zip(ids, nodes, strict=True) if message_id
        }
        replies: dict[int, Reply] = dict.fromkeys(nodes, Reply(refusal=_LATE))
        deadline = time.monotonic() + timeout_s
        while waiting:
            last_look = time.monotonic() >= deadline
            for message in self.grid.pull_messages(list(waiting)):
                node = waiting.pop(message.metadata.reply_to_message_id, None)
                if node is not None:
                    replies[node] = _read(message)
            if last_look:
                break
            if waiting:
                time.sleep(self.poll_s)
        return replies


def _read(message: object) -> Reply:
    try:
        return parse_reply(message)  # type: ignore[arg-type]
    except SecaggReject:
        return Reply(refusal=_MALFORMED)
