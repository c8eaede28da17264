"""Taking a REVEAL apart: whose shares it holds follows from U1, U2 and the graph."""

from __future__ import annotations

from collections.abc import Sequence

from fedethics.errors import SecaggReject
from fedethics.secagg import framing, shamir
from fedethics.secagg.framing import Frame
from fedethics.secagg.graph import Graph
from fedethics.secagg.sum_opening import Reveal


def read_reveal(
    frame: Frame, *, shared: Sequence[str], survivors: Sequence[str], graph: Graph
) -> Reveal:
    """Return the shares in a REVEAL: of seeds of survivors, then of keys of dropped sites.

    Raises:
        SecaggReject: another number of shares than the sender holds, or what is no share.
    """
    sender, alive = frame.header["sender"], set(survivors)
    owners = graph.held_by(sender, among=shared)
    living = [site for site in owners if site in alive]
    dropped = [site for site in owners if site not in alive]
    found = framing.records(frame.body, record_bytes=shamir.SHARE_BYTES, count=len(owners))
    if not all(map(shamir.is_share, found)):
        raise SecaggReject(f"REVEAL of {sender} holds what is not a share")
    split = len(living)
    return Reveal(
        seeds=dict(zip(living, found[:split], strict=True)),
        keys=dict(zip(dropped, found[split:], strict=True)),
    )
