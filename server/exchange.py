"""Ask many nodes at once and take what comes back before the deadline.

Replies are mapped by the message they answer, never by who claims to have sent them: Flower's own
error replies carry the coordinator's node id. A late reply is left unread.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from flwr.serverapp import Grid

from fedethics.errors import SecaggReject
from fedethics.flower.wire import parse_reply, request_message
from fedethics.protocol import Action, Refusal, Reply, Request
from server.refusals import UNSOUND

_WORK = frozenset({Action.TRAIN, Action.EVALUATE})
# Who is silent for this part of the deadline is asked again: a relay is answered in seconds.
_RELAY_AGAIN, _WORK_AGAIN = 0.25, 0.5
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
        return self.work_timeout_s if action in _WORK else self.relay_timeout_s

    def ask(
        self,
        action: Action,
        requests: Mapping[int, Request],
        *,
        asked_again: Callable[[Collection[int]], object] = lambda _nodes: None,
    ) -> dict[int, Reply]:
        """Send each node its request; a node that stays silent has a refusal in the result.

        Flower hands a message out once, and takes a reply once: where the line tears in that
        moment, it is gone. So who is silent for long is sent the same again, once; a site that has
        answered already answers with the same bytes and at no further cost. `asked_again` is told.

        A reply to another message, a second one of the same node, and one that comes after the
        deadline are left unread.
        """
        timeout_s, began = self.timeout_s(action), time.monotonic()
        again_s = timeout_s * (_WORK_AGAIN if action in _WORK else _RELAY_AGAIN)
        replies: dict[int, Reply] = dict.fromkeys(requests, Reply(refusal=_LATE))
        asked = self._sent(action, requests, ttl_s=timeout_s)
        waiting = set(asked.values())
        while waiting:
            waited_s = time.monotonic() - began
            for message in self.grid.pull_messages([m for m, n in asked.items() if n in waiting]):
                node = asked.get(message.metadata.reply_to_message_id)
                if node in waiting:
                    waiting.remove(node)
                    replies[node] = _read(message)
            if waited_s >= timeout_s:  # and that was the last look
                break
            if waiting and waited_s >= again_s:
                again_s = math.inf
                asked_again(waiting)
                silent = {node: requests[node] for node in waiting}
                asked |= self._sent(action, silent, ttl_s=timeout_s - waited_s)
            if waiting:
                time.sleep(self.poll_s)
        return replies

    def _sent(
        self, action: Action, requests: Mapping[int, Request], *, ttl_s: float
    ) -> dict[str, int]:
        """Send requests; return by message the node that it went to."""
        messages = [
            request_message(request, node_id=node, ttl_s=ttl_s, group=str(action))
            for node, request in requests.items()
        ]
        ids = self.grid.push_messages(messages)
        return {key: node for key, node in zip(ids, requests, strict=True) if key}


def _read(message: object) -> Reply:
    try:
        return parse_reply(message)  # type: ignore[arg-type]
    except SecaggReject:
        return Reply(refusal=_MALFORMED)
