"""Opening the sum: from revealed shares to the masks that are still in it, and out of it.

Source: Bonawitz et al. (2017), round 4; the pairwise seeds of a dropped site come from its
recovery blob instead of its Diffie-Hellman key (docs/secagg.md, "The recovery blob").

On the ring each site's shares lie at its neighbours only. Source: Bell et al. (2020); masks of
dropped sites are recovered as the charter says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedethics.errors import SecaggAbort, SecaggReject
from fedethics.secagg import derivation, framing, masking, shamir, sharing
from fedethics.secagg.framing import Frame
from fedethics.secagg.graph import Graph
from fedethics.secagg.masking import apply_masks
from fedethics.secagg.recovery import RECOVERIES, Recovery
from fedethics.secagg.shamir import recover
from fedethics.secagg.sharing import ReadShare
from fedethics.secagg.terms import SumSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Reveal:
    """One site's answer: survivor -> share of its seed, dropped site -> share of its blob key."""

    seeds: Mapping[str, bytes]
    keys: Mapping[str, bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class Gathered:
    """All that the coordinator holds of a session once shares were revealed."""

    session: bytes
    cohort: tuple[str, ...]
    threshold: int
    shared: tuple[str, ...]
    survivors: tuple[str, ...]
    shares: Mapping[str, ReadShare]
    reveals: Mapping[str, Reveal]


def open_sum(
    masked: NDArray[np.unsignedinteger[Any]], gathered: Gathered
) -> tuple[NDArray[np.unsignedinteger[Any]], tuple[str, ...]]:
    """Remove every mask from the sum of the survivors' masked vectors.

    Returns:
        The sum modulo 2**w, and the sites whose revealed shares contradict the secrets.

    Raises:
        SecaggAbort: a secret cannot be recovered, or a blob is not what was committed to; names
            the site whose secret it is.
    """
    suspects: set[str] = set()
    added: list[bytes] = []
    subtracted: list[bytes] = []
    for site in gathered.survivors:
        seed = _recover(gathered, site, "seed", suspects)
        subtracted.append(derivation.self_mask_key(seed, session=gathered.session, site=site))
    for site in gathered.shared:
        if site in gathered.survivors:
            continue
        key = _recover(gathered, site, "key", suspects)
        for peer, pair_seed in _pair_seeds(gathered, site, key):
            (subtracted if site > peer else added).append(pair_seed)
    total = masked.copy()
    apply_masks(total, add=added, subtract=subtracted)
    return total, tuple(sorted(suspects))


def _recover(gathered: Gathered, site: str, use: str, suspects: set[str]) -> bytes:
    share = gathered.shares[site]
    expected = share.seed_commitment if use == "seed" else share.key_commitment
    points = {name: x for x, name in enumerate(gathered.cohort, start=1)}

    def is_right(secret: bytes) -> bool:
        found = sharing.secret_commitment(secret, session=gathered.session, use=use, site=site)
        return found.hex() == expected

    found = recover(
        {
            points[holder]: (reveal.seeds if use == "seed" else reveal.keys)[site]
            for holder, reveal in gathered.reveals.items()
        },
        threshold=gathered.threshold,
        is_right=is_right,
    )
    if found is None:
        raise SecaggAbort(
            f"the {use} of {site} cannot be recovered from {len(gathered.reveals)} answers: it "
            "dealt wrong shares, or more answers are wrong than there are to spare. The sum stays "
            "closed; start the next round, and without that site if it happens again"
        )
    secret, wrong = found
    suspects.update(gathered.cohort[x - 1] for x in wrong)
    return secret


def _pair_seeds(gathered: Gathered, site: str, key: bytes) -> Iterator[tuple[str, bytes]]:
    share = gathered.shares[site]
    seeds = sharing.open_blob(
        share.blob, key, site=site, cohort=gathered.cohort, session=gathered.session
    )
    for peer in gathered.survivors:
        if seeds is None or share.pair_commitments[peer] != sharing.pair_commitment(
            seeds[peer], session=gathered.session, pair={site, peer}
        ):
            raise SecaggAbort(
                f"the recovery blob of {site}, which dropped, is not what it committed to; the "
                "sum stays closed. Start the next round without that site"
            )
        yield peer, seeds[peer]


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

    Only sites that share a mask with a survivor count as dropped.
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
    seeds = {
        site: _recover_on_ring(gathered, site, "seed", suspects) for site in gathered.survivors
    }
    keys = {
        site: _recover_on_ring(gathered, site, "key", suspects)
        for site in gathered.shared
        if site not in alive and not alive.isdisjoint(gathered.graph.peers(site))
    }
    return Secrets(seeds=seeds, keys=keys), tuple(sorted(suspects))


def open_over_graph(
    masked: NDArray[np.unsignedinteger[Any]], gathered: GraphGathered
) -> tuple[NDArray[np.unsignedinteger[Any]], tuple[str, ...]]:
    """Open a sum over any graph; see `open_ring_sum` and `open_sum`."""
    graph = gathered.graph
    # What `open_sum` does faster: everyone is everyone's peer, and masks come from blobs.
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
        for peer, pair_seed in _pair_seeds_on_ring(gathered, site, key, alive):
            (subtracted if site > peer else added).append(pair_seed)
    total = masked.copy()
    apply_masks(total, add=added, subtract=subtracted)
    return total, suspects


def _recover_on_ring(gathered: GraphGathered, site: str, use: str, suspects: set[str]) -> bytes:
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


def _pair_seeds_on_ring(
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
    masked: NDArray[np.unsignedinteger[Any]], gathered: GraphGathered, *, spec: SumSpec
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
            f"sum {spec.name!r}: the sum exceeds {survivors} times the bound {spec.bound}; a site "
            "sent a vector out of range. Discard the sum"
        )
    return body, total, suspects


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
