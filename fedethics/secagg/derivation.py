"""Every derived key and every hash commitment, each under its own label.

Sources: RFC 5869 (HKDF-SHA256), SP 800-38D (AES-256-GCM), all by way of `cryptography`. Each name
in a label follows its length, so no two labels are ever equal.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16


def label(*parts: str) -> bytes:
    """Return an unambiguous encoding of `parts` under the protocol's name."""
    return _PROTOCOL + b"".join(map(_part, parts))


@lru_cache(maxsize=1 << 14)  # names and uses only, nothing secret
def _part(part: str) -> bytes:
    encoded = part.encode("utf-8")
    return len(encoded).to_bytes(2, "big") + encoded


_PROTOCOL = _part("fes/1")


def derive(secret: bytes, *, salt: bytes, info: bytes) -> bytes:
    """Return 32 bytes of HKDF-SHA256."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=info).derive(secret)


def pair_root(agreed: bytes, *, epoch_hash: bytes, use: str, pair: set[str]) -> bytes:
    """Return the root of one `use` ("mask" or "channel") from what two sites agreed on."""
    return derive(agreed, salt=epoch_hash, info=label(f"{use}-root", *sorted(pair)))


def forward(root: bytes, steps: int) -> bytes:
    """Hash a root `steps` rounds forward; there is no way back."""
    prefix = label("forward")
    for _ in range(steps):
        root = hashlib.sha256(prefix + root).digest()
    return root


def pair_seed(root: bytes, *, session: bytes, pair: set[str]) -> bytes:
    """Return s_ij, the seed of the mask that two sites share in one session."""
    return derive(root, salt=session, info=label("pair-mask", *sorted(pair)))


def self_mask_key(seed: bytes, *, session: bytes, site: str) -> bytes:
    """Return the keystream key of a site's own mask, from its self seed b_i."""
    return derive(seed, salt=session, info=label("self-mask", site))


def channel_key(root: bytes, *, session: bytes, sender: str, receiver: str) -> bytes:
    """Return the key under which `sender` seals shares for `receiver` in one session."""
    return derive(root, salt=session, info=label("channel", sender, receiver))


def seal(key: bytes, plaintext: bytes, *, nonce: bytes, bound_to: bytes) -> bytes:
    """Return nonce | AES-256-GCM ciphertext | tag, with `bound_to` as associated data."""
    return nonce + AESGCM(key).encrypt(nonce, plaintext, bound_to)


def unseal(key: bytes, sealed: bytes, *, bound_to: bytes) -> bytes | None:
    """Return the plaintext, or None if it was not sealed under this key and binding."""
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound_to)
    except InvalidTag:
        return None


def commitment(secret: bytes, *, session: bytes, use: str, sites: set[str]) -> bytes:
    """Return the SHA-256 commitment to a 32-byte random secret of one session."""
    return hashlib.sha256(label(f"commit-{use}", *sorted(sites)) + session + secret).digest()
