"""How the masks of a site that drops out are recovered: by a blob, or as in Bonawitz et al.

In both, site i shares a 32-byte secret K_i in each session, revealed only if it dropped. Each SHARE
record has a 32-byte slot for its peer, and the message a tail for the coordinator.

blob      K_i encrypts the tail, the session's pairwise seeds; the slot is H(s_ij), so both ends
          agree before anything is masked. The seeds come from the epoch's roots.
classic   K_i is an X25519 private key made for this session alone, the slot its public key, and
          s_ij = HKDF(X25519(K_i, public key of j)). The tail is empty.

An epoch's own key must never be the one that is shared (docs/secagg.md, "The classic variant").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedethics.errors import SecaggAbort, SecaggReject
from fedethics.secagg import derivation, framing
from fedethics.secagg.suites import SUITES

SLOT_BYTES: Final = 32
# K_i encrypts one blob and nothing else, ever, so a constant nonce is safe.
_BLOB_NONCE: Final = bytes(derivation.NONCE_BYTES)


class Offer(NamedTuple):
    """Sensitive: what a site prepares at SHARE; `pair_seeds` only as far as it knows them."""

    slots: Mapping[str, bytes]
    tail: bytes
    pair_seeds: Mapping[str, bytes]


class Recovery(Protocol):
    """One of the two ways."""

    def tail_bytes(self, peers: int) -> int:
        """Return the size of the tail of a site with so many peers."""

    def offer(self, key: bytes, *, site: str, roots: Mapping[str, bytes], session: bytes) -> Offer:
        """Prepare for dropping out; `key` is K_i, `roots` the mask root for each peer."""

    def sealed_with(self, slot: bytes) -> bytes:
        """Return what sealed shares are bound to besides session and direction."""

    def pair_seed(self, own: bytes, slot: bytes, *, pair: tuple[str, str], session: bytes) -> bytes:
        """Return s_ij from what this site kept (s_ij or K_i) and the slot that its peer sent.

        Raises:
            SecaggAbort: the slot contradicts it; names the pair (site, peer).
        """

    def agree(self, left: bytes, right: bytes) -> bool:
        """Say whether the slots that two sites sent each other can go together."""

    def recovered(
        self,
        key: bytes,
        tail: bytes,
        *,
        site: str,
        slots: Mapping[str, bytes],
        survivors: Mapping[str, str],
        session: bytes,
    ) -> dict[str, bytes] | None:
        """Return peer -> s_ij, or None if the site's SHARE contradicts itself.

        Args:
            key: K_i, already checked against its commitment.
            tail: that of the site's SHARE.
            site: that dropped.
            slots: every peer -> the slot that the site sent it.
            survivors: surviving peer -> the `mask_key` of its SHARE, in hex; empty for blobs.
            session: the session id.
        """


class _Blob:
    def tail_bytes(self, peers: int) -> int:
        return derivation.KEY_BYTES * peers + derivation.TAG_BYTES

    def offer(self, key: bytes, *, site: str, roots: Mapping[str, bytes], session: bytes) -> Offer:
        seeds = {
            peer: derivation.pair_seed(root, session=session, pair={site, peer})
            for peer, root in roots.items()
        }
        bound_to = session + derivation.label("blob", site)
        sealed = derivation.seal(
            key, b"".join(seeds.values()), nonce=_BLOB_NONCE, bound_to=bound_to
        )
        slots = {
            peer: pair_commitment(seed, session=session, pair={site, peer})
            for peer, seed in seeds.items()
        }
        return Offer(slots, sealed[derivation.NONCE_BYTES :], seeds)

    def sealed_with(self, slot: bytes) -> bytes:
        return b""

    def pair_seed(self, own: bytes, slot: bytes, *, pair: tuple[str, str], session: bytes) -> bytes:
        site, peer = pair
        if slot != pair_commitment(own, session=session, pair=set(pair)):
            raise SecaggAbort(f"FORWARD: {peer} committed to another mask with {site} than agreed")
        return own

    def agree(self, left: bytes, right: bytes) -> bool:
        return left == right

    def recovered(
        self,
        key: bytes,
        tail: bytes,
        *,
        site: str,
        slots: Mapping[str, bytes],
        survivors: Mapping[str, str],
        session: bytes,
    ) -> dict[str, bytes] | None:
        seeds = open_blob(tail, key, site=site, cohort=list(slots), session=session)
        if seeds is None or any(
            pair_commitment(seeds[peer], session=session, pair={site, peer}) != slots[peer]
            for peer in survivors
        ):
            return None
        return {peer: seeds[peer] for peer in survivors}


class _Classic:
    def tail_bytes(self, peers: int) -> int:
        return 0

    def offer(self, key: bytes, *, site: str, roots: Mapping[str, bytes], session: bytes) -> Offer:
        return Offer(dict.fromkeys(roots, public_key(key)), b"", {})

    def sealed_with(self, slot: bytes) -> bytes:
        # The slot is the peer's public key: the seal says that it is the peer's own.
        return slot

    def pair_seed(self, own: bytes, slot: bytes, *, pair: tuple[str, str], session: bytes) -> bytes:
        site, peer = pair
        try:
            return _agreed(own, slot, pair=pair, session=session)
        except ValueError as error:
            raise SecaggAbort(f"FORWARD: {peer} dealt {site} a key of low order") from error

    def agree(self, left: bytes, right: bytes) -> bool:
        return left != right

    def recovered(
        self,
        key: bytes,
        tail: bytes,
        *,
        site: str,
        slots: Mapping[str, bytes],
        survivors: Mapping[str, str],
        session: bytes,
    ) -> dict[str, bytes] | None:
        if set(slots.values()) != {public_key(key)}:
            return None
        try:
            return {
                peer: _agreed(key, bytes.fromhex(public), pair=(site, peer), session=session)
                for peer, public in survivors.items()
            }
        except ValueError:
            return None


RECOVERIES: Final[Mapping[str, Recovery]] = {"blob": _Blob(), "classic": _Classic()}


def public_key(key: bytes) -> bytes:
    """Return the public half of a K_i of the classic variant."""
    return X25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw()


def check_slots(site: str, mask_key: str, slots: Mapping[str, bytes]) -> None:
    """Check that a site sent every peer the public key that its SHARE names (classic variant).

    Raises:
        SecaggReject: it did not.
    """
    if any(slot.hex() != mask_key for slot in slots.values()):
        raise SecaggReject(f"SHARE of {site} gives its peers different keys")


def open_blob(
    blob: bytes, key: bytes, *, site: str, cohort: Sequence[str], session: bytes
) -> dict[str, bytes] | None:
    """Return peer -> s_ij from a dropped site's recovery blob, or None if the key is wrong."""
    plain = derivation.unseal(
        key, _BLOB_NONCE + blob, bound_to=session + derivation.label("blob", site)
    )
    if plain is None:
        return None
    peers = [peer for peer in cohort if peer != site]
    seeds = framing.records(memoryview(plain), record_bytes=derivation.KEY_BYTES, count=len(peers))
    return dict(zip(peers, seeds, strict=True))


def pair_commitment(seed: bytes, *, session: bytes, pair: set[str]) -> bytes:
    """Return H(s_ij)."""
    return derivation.commitment(seed, session=session, use="pair", sites=pair)


def _agreed(key: bytes, public: bytes, *, pair: tuple[str, str], session: bytes) -> bytes:
    secret = SUITES[1].initiate(key, public, bound_to=b"").secret
    return derivation.pair_seed(secret, session=session, pair=set(pair))
