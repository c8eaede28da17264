"""Sites that answer inside the coordinator's own process: no network, no Flower.

For simulations and dry runs. Requests and replies are bytes by name, so that the two sides share
nothing that one of them could change, and go through the same `Exchange` as over a network.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from fedethics.coordinator.transport import Arrival
from fedethics.protocol import Refusal, Reply, Request

Answer = Callable[[Request], Reply]
Fault = Callable[[str, Request], bool]
_FIRST_NODE = 1001
_UNAVAILABLE = Refusal(code="unavailable", sentence="the node did not answer")


def no_fault(_site: str, _request: Request) -> bool:
    """Let every request through."""
    return False


@dataclass
class InProcess:
    """Answers each request at once by calling what the site answers with.

    Attributes:
        sites: site name -> what answers its requests; one node for each, in sorted order.
        lost: says which request of which site is lost on the way, to simulate dropouts.
    """

    sites: Mapping[str, Answer]
    lost: Fault = no_fault
    _waiting: dict[str, Arrival] = field(default_factory=dict)
    _count: int = 0

    def nodes(self) -> tuple[int, ...]:
        """Return every node."""
        return tuple(range(_FIRST_NODE, _FIRST_NODE + len(self.sites)))

    def send(self, requests: Mapping[int, Request], *, ttl_s: float) -> dict[str, int]:
        """Have each node answer its request now, and keep the answer; `ttl_s` never passes."""
        names, sent = sorted(self.sites), {}
        for node, request in requests.items():
            self._count += 1
            message_id = f"message-{self._count}"
            self._waiting[message_id] = self._answered(
                names[node - _FIRST_NODE], request, message_id
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
            return Arrival(message_id, Reply(refusal=_UNAVAILABLE), from_node=False)
        return Arrival(message_id, self.sites[site](request))
