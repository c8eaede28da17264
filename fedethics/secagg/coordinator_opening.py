"""The end of a session at the coordinator: from answers to an exact sum, and the way there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedethics.errors import SecaggAbort
from fedethics.secagg import masking
from fedethics.secagg.graph import Graph
from fedethics.secagg.ring_opening import GraphGathered, open_over_graph
from fedethics.secagg.sharing import ReadShare
from fedethics.secagg.terms import TaskSpec


def forward_body(recipient: str, *, shares: Mapping[str, ReadShare], graph: Graph) -> bytes:
    """Return what the sharing peers of `recipient` sealed for it, in the order of names."""
    return b"".join(
        shares[peer].sealed[recipient] + shares[peer].pair_commitments[recipient]
        for peer in graph.peers(recipient)
        if peer in shares
    )


def require(answered: Collection[str], what: str, *, needed: int) -> None:
    """Check that enough sites answered.

    Raises:
        SecaggAbort: they did not; the stage stays open.
    """
    if len(answered) < needed:
        raise SecaggAbort(
            f"{len(answered)} sites {what}, {needed} are needed; the sum stays closed"
        )


def open_exactly(
    masked: NDArray[np.unsignedinteger[Any]], gathered: GraphGathered, *, spec: TaskSpec
) -> tuple[memoryview, NDArray[np.int64], tuple[str, ...]]:
    """Remove every mask; return the sum as bytes and as integers, and whose shares contradict it.

    Raises:
        SecaggAbort: a secret cannot be recovered, or the sum is beyond what bounded vectors give.
    """
    words, suspects = open_over_graph(masked, gathered)
    body = words.data.cast("B")
    total = masking.to_integers(body, spec)
    survivors = len(gathered.survivors)
    if masking.exceeds(total, spec=spec, sites=survivors):
        raise SecaggAbort(
            f"task {spec.name!r}: the sum exceeds {survivors} times the bound {spec.bound}; a site "
            "sent a vector out of range. Discard the sum"
        )
    return body, total, suspects
