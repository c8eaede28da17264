"""A crowd of sites without disks: they send what real sites send, for measurements of the ring.

Thousands of real sites in one process would take hours, most of them for checks of what the
coordinator relays (each site checks every bundle of its epoch). The crowd does the work that the
coordinator must see done (keys, shares, masks, signatures, true answers) and skips the rest.
Between two of the crowd, pairwise roots are hashed from their names instead of agreed on; with a
real site they are agreed on as always, since it cannot tell the crowd from its like.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from fedethics.identity import Identity
from fedethics.secagg import (
    SecaggTerms,
    SumSpec,
    derivation,
    framing,
    graph,
    joining,
    masking,
)
from fedethics.secagg.framing import Frame, Kind
from fedethics.secagg.graph import Graph
from fedethics.secagg.messages import Party
from fedethics.secagg.sharing import PairRoots, SessionSecrets, make_share, open_forward
from fedethics.secagg.suites import KeyPair

EXPIRES_S = 4_000_000_000


@dataclass
class Stranger:
    """One site of the crowd."""

    member: Party
    mask_key: KeyPair
    channel_key: KeyPair
    nonce: bytes
    epoch_hash: str = ""
    secrets: SessionSecrets | None = None

    @classmethod
    def named(cls, name: str, *, identity: Identity, terms: SecaggTerms) -> Stranger:
        member = Party(name=name, identity=identity, terms=terms, random_bytes=os.urandom)
        suite = terms.key_agreement
        mask, channel = suite.generate(os.urandom), suite.generate(os.urandom)
        return cls(member, mask, channel, os.urandom(graph.RING_NONCE_BYTES))

    def announce(self, epoch: str) -> bytes:
        fields: dict[str, object] = {
            "epoch": epoch,
            "suite": self.member.terms.suite,
            "mask_key": self.mask_key.public.hex(),
            "channel_key": self.channel_key.public.hex(),
            "expires_s": EXPIRES_S,
        }
        if self.member.terms.draws_ring:
            committed = graph.nonce_commitment(self.nonce, epoch=epoch, site=self.member.name)
            fields["ring_commitment"] = committed
        return self.member.message(Kind.EPOCH, **fields)

    def acknowledge(self, epoch: str, epoch_hash: str) -> bytes:
        self.epoch_hash = epoch_hash
        drawn = {"ring_nonce": self.nonce.hex()} if self.member.terms.draws_ring else {}
        return self.member.message(Kind.EPOCH_ACK, epoch=epoch, epoch_hash=epoch_hash, **drawn)

    def share(self, session: bytes, graph: Graph, real: Mapping[str, Frame], counter: int) -> bytes:
        name = self.member.name
        peers = graph.peers(name)
        agreed = joining.agree(
            {peer: real[peer] for peer in peers if peer in real},
            site=name,
            private_keys=(self.mask_key.private, self.channel_key.private),
            epoch_hash=bytes.fromhex(self.epoch_hash),
            suite=self.member.terms.key_agreement,
        ).roots
        roots = {
            peer: agreed[peer].forward(counter) if peer in agreed else _named_roots(name, peer)
            for peer in peers
        }
        parts, self.secrets = make_share(
            site=name,
            holders=graph.holders(name),
            threshold=graph.threshold,
            session=session,
            roots=roots,
            random_bytes=os.urandom,
            recovery=self.member.terms.mask_recovery,
        )
        return self.member.message(
            Kind.SHARE,
            parts.body,
            session=session.hex(),
            seed_commitment=parts.seed_commitment,
            key_commitment=parts.key_commitment,
        )

    def mask(
        self,
        forward: bytes,
        vector: np.ndarray,
        spec: SumSpec,
        *,
        near: Iterable[str],
        digest: str,
    ) -> bytes:
        """Return MASKED; `near` are the peers that shared, `digest` is the hash of U1."""
        secrets, name = self.secrets, self.member.name
        if secrets is None:
            raise AssertionError(f"{name} shared nothing")
        frame = framing.decode(forward, kind=Kind.FORWARD, max_body_bytes=1 << 30)
        session = bytes.fromhex(frame.header["session"])
        shares, pair_seeds = open_forward(
            frame.body,
            site=name,
            shared=list(near),
            session=session,
            secrets=secrets,
            recovery=self.member.terms.mask_recovery,
        )
        words = masking.to_words(vector, spec)
        masking.mask_in_place(
            words, site=name, session=session, seed=secrets.seed, pair_seeds=pair_seeds
        )
        self.secrets = SessionSecrets(seed=b"", pair_seeds={}, channel_keys={}, shares=shares)
        body = words.data.cast("B")
        return self.member.message(Kind.MASKED, body, session=session.hex(), shared_hash=digest)

    def confirm(self, session: str, view: str) -> bytes:
        return self.member.message(Kind.CONFIRM, session=session, view=view)

    def reveal(self, session: str, view: str, *, near: Iterable[str], alive: set[str]) -> bytes:
        """Return REVEAL; `near` are the sites of U1 whose shares this one may hold, sorted."""
        if self.secrets is None:
            raise AssertionError(f"{self.member.name} shared nothing")
        shares, near = self.secrets.shares, list(near)
        seeds = [shares[peer].seed for peer in near if peer in alive]
        keys = [shares[peer].key for peer in near if peer not in alive]
        body = b"".join(seeds + keys)
        return self.member.message(Kind.REVEAL, body, session=session, view=view)


def _named_roots(left: str, right: str) -> PairRoots:
    name = derivation.label("bench", *sorted((left, right)))
    use = (hashlib.sha256(name + kind).digest() for kind in (b"mask", b"channel"))
    return PairRoots(mask=next(use), channel=next(use))
