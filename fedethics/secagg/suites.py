"""The suites: how two sites agree on a secret for an epoch. All branching on `suite` is here.

1  X25519               RFC 7748
2  P-256 ECDH           SP 800-56A rev. 3, section 5.7.1.2; points compressed as in SEC 1, 2.3.3
3  X25519 + ML-KEM-768  RFC 7748 and FIPS 203, both secrets into one HKDF

In each pair one site initiates (the one whose name comes first) and one responds. In suites 1 and
2 both get there from public keys alone and the ciphertext is empty. In suite 3 the initiator
encapsulates to the responder and sends the ciphertext, behind a tag under the X25519 secret, so
that only the initiator can have sent it. Signatures stay Ed25519 in every suite.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple, Protocol

import cryptography
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDH,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    derive_private_key,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fedethics.errors import SetupError
from fedethics.secagg.derivation import KEY_BYTES, derive, label

try:
    from cryptography.hazmat.primitives.asymmetric import mlkem
except ImportError:  # suites 1 and 2 work with a build of cryptography that lacks it
    mlkem = None  # type: ignore[assignment]

Random = Callable[[int], bytes]
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
# 64 bits more than the order has, so that the remainder is uniform (FIPS 186-5, A.2.1).
_P256_DRAW_BYTES = 40
_KEM_SEED_BYTES, _KEM_PUBLIC_BYTES, _KEM_CIPHERTEXT_BYTES, _TAG_BYTES = 64, 1184, 1088, 32


class KeyPair(NamedTuple):
    """Sensitive: a private key as stored, and its public encoding."""

    private: bytes
    public: bytes


class Agreed(NamedTuple):
    """Sensitive: a secret shared with a peer, and what the peer needs to reach it."""

    secret: bytes
    ciphertext: bytes


class Suite(Protocol):
    """Key agreement between two sites.

    Guarantee: `initiate` and `respond` give the same secret, or raise ValueError: for a key that
    is malformed, off the curve or of low order, or a ciphertext that the peer did not send.
    `bound_to` names epoch, use and pair. The secret still goes through HKDF.
    """

    public_bytes: int
    ciphertext_bytes: int

    def generate(self, random_bytes: Random) -> KeyPair:
        """Return a fresh key pair, drawn from `random_bytes` alone."""

    def initiate(self, private: bytes, peer: bytes, *, bound_to: bytes) -> Agreed:
        """Agree with `peer` as the site whose name comes first."""

    def respond(self, private: bytes, peer: bytes, ciphertext: bytes, *, bound_to: bytes) -> bytes:
        """Agree with `peer` as the other one, from the ciphertext that `peer` sent."""


class _X25519:
    public_bytes = KEY_BYTES
    ciphertext_bytes = 0

    def generate(self, random_bytes: Random) -> KeyPair:
        private = random_bytes(KEY_BYTES)
        public = X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
        return KeyPair(private, public)

    def initiate(self, private: bytes, peer: bytes, *, bound_to: bytes) -> Agreed:
        return Agreed(_x25519(private, peer), b"")

    def respond(self, private: bytes, peer: bytes, ciphertext: bytes, *, bound_to: bytes) -> bytes:
        return _x25519(private, peer)


class _P256:
    public_bytes = 1 + KEY_BYTES
    ciphertext_bytes = 0

    def generate(self, random_bytes: Random) -> KeyPair:
        drawn = int.from_bytes(random_bytes(_P256_DRAW_BYTES), "big")
        number = drawn % (_P256_ORDER - 1) + 1
        public = derive_private_key(number, SECP256R1()).public_key()
        encoded = public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        return KeyPair(number.to_bytes(KEY_BYTES, "big"), encoded)

    def initiate(self, private: bytes, peer: bytes, *, bound_to: bytes) -> Agreed:
        return Agreed(_p256(private, peer), b"")

    def respond(self, private: bytes, peer: bytes, ciphertext: bytes, *, bound_to: bytes) -> bytes:
        return _p256(private, peer)


class _Hybrid:
    # private: X25519 private | ML-KEM seed d | z.  public: X25519 public | encapsulation key.
    public_bytes = KEY_BYTES + _KEM_PUBLIC_BYTES
    ciphertext_bytes = _KEM_CIPHERTEXT_BYTES + _TAG_BYTES

    def generate(self, random_bytes: Random) -> KeyPair:
        classical = SUITES[1].generate(random_bytes)
        seed = random_bytes(_KEM_SEED_BYTES)
        public = _kem_private(seed).public_key().public_bytes_raw()
        return KeyPair(classical.private + seed, classical.public + public)

    def initiate(self, private: bytes, peer: bytes, *, bound_to: bytes) -> Agreed:
        classical = _x25519(private[:KEY_BYTES], peer[:KEY_BYTES])
        quantum, ciphertext = _kem_public(peer[KEY_BYTES:]).encapsulate()
        sent = ciphertext + _tag(classical, ciphertext, bound_to)
        return Agreed(_joined(quantum, classical, ciphertext), sent)

    def respond(self, private: bytes, peer: bytes, ciphertext: bytes, *, bound_to: bytes) -> bytes:
        classical = _x25519(private[:KEY_BYTES], peer[:KEY_BYTES])
        sealed, tag = ciphertext[:_KEM_CIPHERTEXT_BYTES], ciphertext[_KEM_CIPHERTEXT_BYTES:]
        if not hmac.compare_digest(tag, _tag(classical, sealed, bound_to)):
            raise ValueError("the ciphertext is not the peer's own")
        quantum = _kem_private(private[KEY_BYTES:]).decapsulate(sealed)
        return _joined(quantum, classical, sealed)


SUITES: Final[Mapping[int, Suite]] = {1: _X25519(), 2: _P256(), 3: _Hybrid()}


def _x25519(private: bytes, peer: bytes) -> bytes:
    # Raises ValueError for a point of low order: the shared secret would be all zeros.
    return X25519PrivateKey.from_private_bytes(private).exchange(
        X25519PublicKey.from_public_bytes(peer)
    )


def _p256(private: bytes, peer: bytes) -> bytes:
    # Raises ValueError for a point that is not on the curve; the cofactor is 1, so a point on it
    # has full order, and infinity has no compressed spelling of this length.
    number = int.from_bytes(private, "big")
    own: EllipticCurvePrivateKey = derive_private_key(number, SECP256R1())
    return own.exchange(ECDH(), EllipticCurvePublicKey.from_encoded_point(SECP256R1(), peer))


def _tag(classical: bytes, ciphertext: bytes, bound_to: bytes) -> bytes:
    key = derive(classical, salt=bound_to, info=label("kem-tag"))
    return hmac.digest(key, bound_to + ciphertext, "sha256")


def _joined(quantum: bytes, classical: bytes, ciphertext: bytes) -> bytes:
    # Both secrets and the ciphertext: the result is unknown while either secret is.
    return quantum + classical + hashlib.sha256(ciphertext).digest()


def _kem_private(seed: bytes) -> mlkem.MLKEM768PrivateKey:
    with _kem_or_setup_error():
        return mlkem.MLKEM768PrivateKey.from_seed_bytes(seed)


def _kem_public(raw: bytes) -> mlkem.MLKEM768PublicKey:
    with _kem_or_setup_error():
        return mlkem.MLKEM768PublicKey.from_public_bytes(raw)


@contextmanager
def _kem_or_setup_error() -> Iterator[None]:
    missing = SetupError(
        "secagg suite 3 needs ML-KEM-768 (FIPS 203), which this installation lacks: cryptography "
        f"{cryptography.__version__} was built without it. No key was announced. Install a build "
        "of cryptography with OpenSSL 3.5 or later, or agree on suite 1 or 2 in the charter"
    )
    if mlkem is None:
        raise missing
    try:
        yield
    except UnsupportedAlgorithm as error:
        raise missing from error
