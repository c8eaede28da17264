"""How the coordinator reaches sites: requests go out, replies come back, nothing else is known.

Flower's grid is one transport (`fedethics/flower/grid.py`); `InProcess` is another, for simulations
and dry runs: it calls what a site answers with, so there is no network and no Flower. What is asked
again, and for how long one waits, is decided by `Exchange`, alike for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from fedethics.protocol import Refusal, Reply, Request

Answer = Callable[[Request], Reply]
Fault = Callable[[str, Request], bool]
FIRST_NODE = 1001
UNAVAILABLE = Refusal(code="unavailable", sentence="the node did not answer")


@dataclass(frozen=True, slots=True)
class Arrival:
    """What came back for one message.

    Attributes:
        message_id: the message that it answers, as `send` named it.
        reply: what the node said, or a refusal in the transport's words; None if unreadable.
        from_node: the node itself said it. Otherwise another copy may still be answered.
        lost: the node answered, or took the message, and the answer is not to be had any more: the
            same may be sent again.
    """

    message_id: str
    reply: Reply | None
    from_node: bool = True
    lost: bool = False


class Transport(Protocol):
    """Carries requests to nodes and brings back what they answer."""

    def nodes(self) -> tuple[int, ...]:
        """Return the nodes that are connected now."""

    def send(self, requests: Mapping[int, Request], *, ttl_s: float) -> dict[str, int]:
        """Send each node its request, valid for `ttl_s` seconds.

        Returns:
            The node of each message that went out; one that could not be sent is missing.
        """

    def receive(self, message_ids: Collection[str]) -> Iterable[Arrival]:
        """Return what has come for these messages since the last call, each once; never wait."""


def no_fault(_site: str, _request: Request) -> bool:
    """Let every request through."""
    return False


@dataclass
class InProcess:
    """Answers each request at once by calling what the site answers with.

    Requests and replies are bytes by name, so that the two sides share nothing to be changed.

    Attributes:
        sites: site name -> what answers its requests; one node for each, in sorted order.
        lost: says which request of which site is lost on the way, to simulate dropouts.
        late: says which request is answered when nobody waits any more.
    """

    sites: Mapping[str, Answer]
    lost: Fault = no_fault
    late: Fault = no_fault
    _waiting: dict[str, Arrival] = field(default_factory=dict)
    _count: int = 0

    def nodes(self) -> tuple[int, ...]:
        """Return every node."""
        return tuple(range(FIRST_NODE, FIRST_NODE + len(self.sites)))

    def send(self, requests: Mapping[int, Request], *, ttl_s: float) -> dict[str, int]:
        """Have each node answer its request now, and keep the answer; `ttl_s` never passes."""
        names, sent = sorted(self.sites), {}
        for node, request in requests.items():
            self._count += 1
            message_id = f"message-{self._count}"
            self._waiting[message_id] = self._answered(
                names[node - FIRST_NODE], request, message_id
            )
            sent[message_id] = node
        return sent

    def receive(self, message_ids: Collection[str]) -> Iterator[Arrival]:
        """Yield the answers to these messages, each once."""
        for message_id in message_ids:
            if message_id in self._waiting:
                yield self._waiting.pop(message_id)

    def _answered(self, site: str, request: Request, message_id: str) -> Arrival:
        if self.lost(site, request):
            return Arrival(message_id, Reply(refusal=UNAVAILABLE), from_node=False)
        reply = self.sites[site](request)
        if self.late(site, request):
            return Arrival(message_id, Reply(refusal=UNAVAILABLE), from_node=False)
        return Arrival(message_id, reply)
