"""How the coordinator reaches sites: requests go out, replies come back, nothing else is known.

Flower's grid is one transport (`fedethics/flower/grid.py`); another answers inside this process,
for simulations and dry runs (`fedethics/coordinator/inprocess.py`). What is asked again, and for
how long one waits, is decided by `Exchange`, alike for all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from fedethics.protocol import Reply, Request


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
