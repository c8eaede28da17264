"""The SHARE and FORWARD stages: secrets of one session, split, sealed and committed to.

A site draws a self seed b_i and a blob key K_i. Peers hold Shamir shares of both; the coordinator
holds the recovery blob: the session's pairwise seeds under K_i. If the site's vector is in the
sum, shares of b_i are revealed; if it dropped, shares of K_i; never both (docs/secagg.md, I1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fedethics.errors import SecaggAbort, SecaggReject
from fedethics.secagg import derivation, framing, shamir
from fedethics.secagg.framing import Frame
from fedethics.secagg.graph import Graph
from fedethics.secagg.recovery import SLOT_BYTES, Recovery, check_slots
from fedethics.secagg.recovery import open_blob as open_blob
from fedethics.secagg.recovery import pair_commitment as pair_commitment

SEALED_BYTES = derivation.NONCE_BYTES + 2 * shamir.SHARE_BYTES + derivation.TAG_BYTES
RECORD_BYTES = SEALED_BYTES + SLOT_BYTES


@dataclass(frozen=True, kw_only=True, slots=True)
class PairRoots:
    """Sensitive: what two sites agreed on for an epoch, hashed forward with the rounds."""

    mask: bytes
    channel: bytes

    def forward(self, steps: int) -> PairRoots:
        """Return the roots `steps` rounds later."""
        return PairRoots(
            mask=derivation.forward(self.mask, steps),
            channel=derivation.forward(self.channel, steps),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SharePair:
    """Sensitive: one holder's shares of a site's self seed and blob key."""

    seed: bytes
    key: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionSecrets:
    """Sensitive: what a site must keep between SHARE and REVEAL, and then wipe.

    Attributes:
        seed: b_i; empty once the vector is masked.
        key: K_i where pairwise seeds follow from it at FORWARD (classic); empty once masked.
        pair_seeds: peer -> s_ij; empty once the vector is masked.
        channel_keys: peer -> the key under which it seals shares for this site.
        shares: owner -> the shares of its secrets that this site holds, its own included.
    """

    seed: bytes
    key: bytes = b""
    pair_seeds: Mapping[str, bytes]
    channel_keys: Mapping[str, bytes]
    shares: Mapping[str, SharePair]


@dataclass(frozen=True, kw_only=True, slots=True)
class ShareParts:
    """What a SHARE message says: two commitments and a body."""

    seed_commitment: str
    key_commitment: str
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadShare:
    """A SHARE as the coordinator holds it.

    Attributes:
        seed_commitment: H(b_i), hex.
        key_commitment: H(K_i), hex.
        sealed: peer -> the shares sealed for it.
        pair_commitments: peer -> its slot: H(s_ij), or the site's public key (classic).
        blob: the pairwise seeds under K_i; empty (classic).
        mask_key: the site's public key of this session, hex (classic); else empty.
    """

    seed_commitment: str
    key_commitment: str
    sealed: Mapping[str, bytes]
    pair_commitments: Mapping[str, bytes]
    blob: bytes
    mask_key: str = ""


def make_share(
    *,
    site: str,
    holders: Sequence[str],
    threshold: int,
    session: bytes,
    roots: Mapping[str, PairRoots],
    random_bytes: Callable[[int], bytes],
    recovery: Recovery,
) -> tuple[ShareParts, SessionSecrets]:
    """Draw, split, seal and commit; `holders` are sorted, `site` may be one of them."""
    seed, key = random_bytes(shamir.SECRET_BYTES), random_bytes(shamir.SECRET_BYTES)
    seed_shares, key_shares = (
        shamir.split(secret, threshold=threshold, holders=len(holders), random_bytes=random_bytes)
        for secret in (seed, key)
    )
    shares = {
        holder: SharePair(seed=seed_share, key=key_share)
        for holder, seed_share, key_share in zip(holders, seed_shares, key_shares, strict=True)
    }
    peers = [peer for peer in holders if peer != site]
    offer = recovery.offer(
        key, site=site, roots={peer: roots[peer].mask for peer in peers}, session=session
    )
    records = [
        _seal_shares(
            shares[peer],
            roots[peer],
            session + derivation.label("shares", site, peer) + recovery.sealed_with(slot),
            session=session,
            direction=(site, peer),
            random_bytes=random_bytes,
        )
        + slot
        for peer, slot in offer.slots.items()
    ]
    parts = ShareParts(
        seed_commitment=secret_commitment(seed, session=session, use="seed", site=site).hex(),
        key_commitment=secret_commitment(key, session=session, use="key", site=site).hex(),
        body=b"".join([*records, offer.tail]),
    )
    secrets = SessionSecrets(
        seed=seed,
        key=b"" if offer.pair_seeds else key,
        pair_seeds=offer.pair_seeds,
        channel_keys={
            peer: derivation.channel_key(
                roots[peer].channel, session=session, sender=peer, receiver=site
            )
            for peer in peers
        },
        shares={site: shares[site]} if site in shares else {},
    )
    return parts, secrets


def share_body_bytes(peers: int, *, recovery: Recovery) -> int:
    """Return the size of the SHARE body of a site with so many peers."""
    return peers * RECORD_BYTES + recovery.tail_bytes(peers)


def read_share(frame: Frame, *, peers: Sequence[str], recovery: Recovery) -> ReadShare:
    """Take a SHARE message apart; `peers` are its sender's.

    Raises:
        SecaggReject: its body is not that of this cohort.
    """
    sender, body = frame.header["sender"], frame.body
    if len(body) != share_body_bytes(len(peers), recovery=recovery):
        raise SecaggReject(f"SHARE of {sender}: body of {len(body)} bytes, not of this cohort")
    end = len(peers) * RECORD_BYTES
    found = framing.records(body[:end], record_bytes=RECORD_BYTES, count=len(peers))
    slots = {peer: record[SEALED_BYTES:] for peer, record in zip(peers, found, strict=True)}
    mask_key: str = frame.header.get("mask_key", "")
    if mask_key:
        check_slots(sender, mask_key, slots)
    return ReadShare(
        seed_commitment=frame.header["seed_commitment"],
        key_commitment=frame.header["key_commitment"],
        sealed={p: record[:SEALED_BYTES] for p, record in zip(peers, found, strict=True)},
        pair_commitments=slots,
        blob=bytes(body[end:]),
        mask_key=mask_key,
    )


def check_pairs(
    shared: Sequence[str], *, shares: Mapping[str, ReadShare], graph: Graph, recovery: Recovery
) -> None:
    """Check that both ends of each pair in U1 committed to one mask.

    Raises:
        SecaggAbort: they did not; names the pair.
    """
    there = set(shared)
    for left in shared:
        for right in graph.peers(left):
            if right < left or right not in there:
                continue
            ours, theirs = shares[left].pair_commitments, shares[right].pair_commitments
            if not recovery.agree(ours[right], theirs[left]):
                raise SecaggAbort(
                    f"{left} and {right} committed to different masks; one of them lies. "
                    "Nothing was masked; open a cohort without one of them"
                )


def open_forward(
    body: memoryview,
    *,
    site: str,
    shared: Sequence[str],
    session: bytes,
    secrets: SessionSecrets,
    recovery: Recovery,
) -> tuple[dict[str, SharePair], dict[str, bytes]]:
    """Unseal what each peer in `shared` sent to `site`.

    Returns:
        All shares that the site now holds, and peer -> s_ij.

    Raises:
        SecaggReject: the body's size does not fit `shared`.
        SecaggAbort: shares were not sealed by the peer they are said to come from, or the peer
            committed to another pairwise seed; names the pair.
    """
    peers = [peer for peer in shared if peer != site]
    found = framing.records(body, record_bytes=RECORD_BYTES, count=len(peers))
    shares, pair_seeds = dict(secrets.shares), {}
    for peer, record in zip(peers, found, strict=True):
        slot = record[SEALED_BYTES:]
        plain = derivation.unseal(
            secrets.channel_keys[peer],
            record[:SEALED_BYTES],
            bound_to=session + derivation.label("shares", peer, site) + recovery.sealed_with(slot),
        )
        if plain is None:
            raise SecaggAbort(f"FORWARD: the shares from {peer} to {site} are not {peer}'s own")
        pair_of_shares = SharePair(
            seed=plain[: shamir.SHARE_BYTES], key=plain[shamir.SHARE_BYTES :]
        )
        if not shamir.is_share(pair_of_shares.seed) or not shamir.is_share(pair_of_shares.key):
            raise SecaggAbort(f"FORWARD: {peer} dealt {site} a share outside the field")
        own = secrets.key or secrets.pair_seeds[peer]
        pair_seeds[peer] = recovery.pair_seed(own, slot, pair=(site, peer), session=session)
        shares[peer] = pair_of_shares
    return shares, pair_seeds


def secret_commitment(secret: bytes, *, session: bytes, use: str, site: str) -> bytes:
    """Return H(b_i) (`use` "seed") or H(K_i) (`use` "key")."""
    return derivation.commitment(secret, session=session, use=use, sites={site})


def _seal_shares(
    shares: SharePair,
    roots: PairRoots,
    bound_to: bytes,
    *,
    session: bytes,
    direction: tuple[str, str],
    random_bytes: Callable[[int], bytes],
) -> bytes:
    sender, receiver = direction
    return derivation.seal(
        derivation.channel_key(roots.channel, session=session, sender=sender, receiver=receiver),
        shares.seed + shares.key,
        # The key is fresh for each session and direction; a random nonce keeps it safe even if
        # the site's disk is rolled back to an older state.
        nonce=random_bytes(derivation.NONCE_BYTES),
        bound_to=bound_to,
    )
