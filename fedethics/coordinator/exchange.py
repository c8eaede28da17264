"""Ask many nodes at once and take what comes back before the deadline.

Replies are mapped by the message they answer, never by who claims to have sent them: Flower's own
error replies carry the coordinator's node id. A late reply is left unread.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from fedethics.coordinator.refusals import UNSOUND
from fedethics.coordinator.transport import Arrival, Transport
from fedethics.protocol import Action, Refusal, Reply, Request

WORK = frozenset({Action.TRAIN, Action.EVALUATE})
# Who is silent for this part of the deadline is asked again: a relay is answered in seconds.
_PATIENCE = 0.25
_LATE = Refusal(code="late", sentence="no reply before the deadline")
_MALFORMED = Refusal(code=UNSOUND, sentence="the reply could not be read")


@dataclass(frozen=True, slots=True)
class Exchange:
    """Sends requests over a transport and waits for the replies of one leg.

    Attributes:
        transport: what carries them.
        work_timeout_s: how long a site may train or measure.
        relay_timeout_s: how long it may take over every other leg.
        poll_s: pause between two looks at what has come.
    """

    transport: Transport
    work_timeout_s: float
    relay_timeout_s: float
    poll_s: float = 0.2

    def nodes(self) -> tuple[int, ...]:
        """Return the nodes that are connected now."""
        return self.transport.nodes()

    def timeout_s(self, action: Action) -> float:
        """Return how long the slowest site may take to answer `action`."""
        return self.work_timeout_s if action in WORK else self.relay_timeout_s

    def ask(
        self,
        action: Action,
        requests: Mapping[int, Request],
        *,
        asked_again: Callable[[Collection[int]], object] = lambda _nodes: None,
    ) -> dict[int, Reply]:
        """Send each node its request; a node that does not answer has a refusal in the result.

        Flower hands a message out once, and takes a reply once: where the line tears in that
        moment, it is gone. So the same is sent again, once, to a node whose reply was lost, and to
        one that is long silent, unless it was asked to compute: if its process died at that,
        another try would be another charge. `asked_again` is told.

        A reply to another message, a second one of the same node, and one that comes after the
        deadline are left unread.
        """
        timeout_s, began = self.timeout_s(action), time.monotonic()
        patience_s = math.inf if action in WORK else timeout_s * _PATIENCE
        leg = _Leg()
        leg.sent(self.transport.send(requests, ttl_s=timeout_s))
        while leg.out:
            waited_s = time.monotonic() - began
            for arrival in self.transport.receive(list(leg.out)):
                leg.take(arrival)
            if waited_s >= timeout_s:  # and that was the last look
                break
            again = leg.to_ask_again(silent=waited_s >= patience_s)
            left_s = timeout_s - (time.monotonic() - began)
            if again and left_s > 0:
                asked_again(again)
                copies = {node: requests[node] for node in again}
                leg.sent(self.transport.send(copies, ttl_s=left_s))
            if leg.out:
                time.sleep(self.poll_s)
        return {node: leg.replies.get(node, Reply(refusal=_LATE)) for node in requests}


class _Leg:
    """Who was asked what, how often, and what came of it.

    Attributes:
        out: messages that are not answered, and the node of each.
        replies: what came last of each node.
    """

    def __init__(self) -> None:
        self.out: dict[str, int] = {}
        self.replies: dict[int, Reply] = {}
        self._often = Counter[int]()
        self._lost: set[int] = set()

    @property
    def waiting(self) -> set[int]:
        """Nodes whose answer may still come."""
        return set(self.out.values())

    def sent(self, copies: dict[str, int]) -> None:
        """Note messages that went out, and the node of each."""
        self.out |= copies
        self._often.update(copies.values())

    def take(self, arrival: Arrival) -> None:
        """Take what came, unless its node has answered already."""
        node = self.out.pop(arrival.message_id, None)
        if node is None:
            return
        self.replies[node] = arrival.reply or Reply(refusal=_MALFORMED)
        if arrival.lost:
            self._lost.add(node)
        if arrival.from_node:  # the other copy is left unread; otherwise it may still be answered
            self.out = {key: each for key, each in self.out.items() if each != node}

    def to_ask_again(self, *, silent: bool) -> set[int]:
        """Return nodes to send a second copy to; with `silent`, all who have not answered."""
        again = self._lost | (self.waiting if silent else set())
        self._lost.clear()
        return {node for node in again if self._often[node] == 1}
