"""Opening a sum on the ring: as in `sum_opening`, with each site's shares at its neighbours only.

Source: Bell et al. (2020); masks of dropped sites are recovered as the charter says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedethics.errors import SecaggAbort
from fedethics.secagg import derivation, sharing
from fedethics.secagg.graph import Graph
from fedethics.secagg.keystream import apply_masks
from fedethics.secagg.recovery import RECOVERIES, Recovery
from fedethics.secagg.sharing import ReadShare
from fedethics.secagg.sum_opening import Gathered, Reveal, open_sum
from fedethics.secagg.unmasking import recover


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphGathered:
    """All that the coordinator holds of a session over any graph once shares were revealed."""

    session: bytes
    graph: Graph
    recovery: Recovery
    shared: tuple[str, ...]
    survivors: tuple[str, ...]
    shares: Mapping[str, ReadShare]
    reveals: Mapping[str, Reveal]


@dataclass(frozen=True, kw_only=True, slots=True)
class Secrets:
    """What the revealed shares gave: survivor -> b_j, and dropped site -> K_j.

    Dropped are only those sites that share a mask with a survivor.
    """

    seeds: Mapping[str, bytes]
    keys: Mapping[str, bytes]


def recover_secrets(gathered: GraphGathered) -> tuple[Secrets, tuple[str, ...]]:
    """Return the secrets, and the sites whose revealed shares contradict them; any graph will do.

    Raises:
        SecaggAbort: a secret cannot be recovered; names the site whose it is.
    """
    suspects: set[str] = set()
    alive = set(gathered.survivors)
    seeds = {site: _recover(gathered, site, "seed", suspects) for site in gathered.survivors}
    keys = {
        site: _recover(gathered, site, "key", suspects)
        for site in gathered.shared
        if site not in alive and not alive.isdisjoint(gathered.graph.peers(site))
    }
    return Secrets(seeds=seeds, keys=keys), tuple(sorted(suspects))


def open_over_graph(
    masked: NDArray[np.unsignedinteger[Any]], gathered: GraphGathered
) -> tuple[NDArray[np.unsignedinteger[Any]], tuple[str, ...]]:
    """Open a sum over any graph; see `open_ring_sum` and `sum_opening.open_sum`."""
    graph = gathered.graph
    # What `sum_opening` does faster: everyone is everyone's peer, and masks come from blobs.
    if graph.neighbourhoods is not None or gathered.recovery is not RECOVERIES["blob"]:
        return open_ring_sum(masked, gathered)
    everyone = Gathered(
        session=gathered.session,
        cohort=graph.cohort,
        threshold=graph.threshold,
        shared=gathered.shared,
        survivors=gathered.survivors,
        shares=gathered.shares,
        reveals=gathered.reveals,
    )
    return open_sum(masked, everyone)


def open_ring_sum(
    masked: NDArray[np.unsignedinteger[Any]], gathered: GraphGathered
) -> tuple[NDArray[np.unsignedinteger[Any]], tuple[str, ...]]:
    """Remove every mask from the sum of the survivors' masked vectors.

    Returns:
        The sum modulo 2**w, and the sites whose revealed shares contradict the secrets.

    Raises:
        SecaggAbort: a secret cannot be recovered, or a blob is not what was committed to; names
            the site whose secret it is.
    """
    secrets, suspects = recover_secrets(gathered)
    added: list[bytes] = []
    subtracted = [
        derivation.self_mask_key(seed, session=gathered.session, site=site)
        for site, seed in secrets.seeds.items()
    ]
    alive = set(gathered.survivors)
    for site, key in secrets.keys.items():
        for peer, pair_seed in _pair_seeds(gathered, site, key, alive):
            (subtracted if site > peer else added).append(pair_seed)
    total = masked.copy()
    apply_masks(total, add=added, subtract=subtracted)
    return total, suspects


def _recover(gathered: GraphGathered, site: str, use: str, suspects: set[str]) -> bytes:
    share, holders = gathered.shares[site], gathered.graph.holders(site)
    expected = share.seed_commitment if use == "seed" else share.key_commitment
    revealed = {
        x: (reveal.seeds if use == "seed" else reveal.keys)[site]
        for x, holder in enumerate(holders, start=1)
        if (reveal := gathered.reveals.get(holder)) is not None
    }

    def is_right(secret: bytes) -> bool:
        found = sharing.secret_commitment(secret, session=gathered.session, use=use, site=site)
        return found.hex() == expected

    found = recover(revealed, threshold=gathered.graph.threshold, is_right=is_right)
    if found is None:
        raise SecaggAbort(
            f"the {use} of {site} cannot be recovered from {len(revealed)} of its neighbours' "
            f"answers, {gathered.graph.threshold} true ones are needed. The sum stays closed; "
            "start the next round"
        )
    secret, wrong = found
    suspects.update(holders[x - 1] for x in wrong)
    return secret


def _pair_seeds(
    gathered: GraphGathered, site: str, key: bytes, alive: set[str]
) -> Iterator[tuple[str, bytes]]:
    share = gathered.shares[site]
    peers = [peer for peer in gathered.graph.peers(site) if peer in alive]
    seeds = gathered.recovery.recovered(
        key,
        share.blob,
        site=site,
        slots=share.pair_commitments,
        survivors={peer: gathered.shares[peer].mask_key for peer in peers},
        session=gathered.session,
    )
    if seeds is None:
        raise SecaggAbort(
            f"the SHARE of {site}, which dropped, contradicts what it committed to; the sum stays "
            "closed. Start the next round without that site"
        )
    yield from seeds.items()
