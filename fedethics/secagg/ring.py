"""The order of the ring: drawn together, so that neither the coordinator nor a site can choose it.

Each site commits to a nonce in EPOCH and opens it in EPOCH_ACK, after ROSTER has fixed everybody's
commitments. The order is a hash of all nonces: as long as one honest site's nonce is unknown when
the commitments are fixed, nobody knows the order while they can still change anything but whether
the epoch goes on (docs/secagg.md, "The ring").
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from fedethics.secagg import derivation

NONCE_BYTES = 32


def commitment(nonce: bytes, *, epoch: str, site: str) -> str:
    """Return the hex hash by which a site commits to its nonce."""
    bound_to = derivation.label(epoch)
    return derivation.commitment(nonce, session=bound_to, use="ring", sites={site}).hex()


def order(nonces: Mapping[str, bytes], *, epoch_hash: bytes) -> tuple[str, ...]:
    """Return the sites of an epoch in the order of the ring."""
    drawn = b"".join(nonces[site] for site in sorted(nonces))
    seed = derivation.derive(drawn, salt=epoch_hash, info=derivation.label("ring-seed"))
    return tuple(sorted(nonces, key=lambda site: _position(site, seed)))


def _position(site: str, seed: bytes) -> bytes:
    return hashlib.sha256(derivation.label("ring-position", site) + seed).digest()
