"""Long-term signing identities: one Ed25519 key pair for each site and for the coordinator.

Guarantee: a private key is written once with mode 0600 and never leaves the machine; signatures
carry a purpose, so one made for a ledger entry can never pass as one on a charter. `verify`
believes no key that `key_fault` finds fault with: under a key of small order, a few constant bytes
are a signature over anything. The same check stands wherever a public key enters.
Sources: RFC 8032 (Ed25519), by way of `cryptography`, which refuses an S that is not below the
group's order; Chalkias, Garillot and Nikolaenko 2020 (eprint 2020/1244), for the keys and points
that it does not refuse; RFC 7748, by which the group is told.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from fedethics import ownership
from fedethics.errors import PolicyError
from fedethics.storage import files
from fedethics.terms import KEY, term

_NEUTRAL = (1).to_bytes(32, "little")
_PRIME = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
# X25519 multiplies a point, named by u = (1 + y) / (1 - y), by 5 times the order less 1: the first
# such number that X25519 takes as it is, and a multiple of 8. It turns a point of the order's group
# into its negative, which has the same u, and strips any other of its part of small order.
_MULTIPLIER = X25519PrivateKey.from_private_bytes((5 * _ORDER - 1).to_bytes(32, "little"))
_NO_GENERATOR = (
    "is no point of the curve's group of prime order: it is of small order or has a part that is, "
    "so that signatures by it prove nothing (eprint 2020/1244)"
)


@dataclass(frozen=True, slots=True)
class Identity:
    """A signing key and the public half that the roster names it by."""

    _private: Ed25519PrivateKey

    @classmethod
    def generate(cls) -> Identity:
        """Make a new identity from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> Identity:
        """Read an identity from `path`, refusing a file that others may read or replace.

        Raises:
            PolicyError: missing, not 32 bytes, or not safe from other accounts.
        """
        ownership.require_safe(
            path, PolicyError, what="signing key", could="sign with it", secret=True
        )
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise PolicyError(f"signing key {ownership.cannot_read(path, error)}") from error
        if len(raw) != 32:
            raise PolicyError(f"signing key {path} holds {len(raw)} bytes, expected 32")
        return cls(Ed25519PrivateKey.from_private_bytes(raw))

    def save(self, path: Path) -> None:
        """Write the private key to a new file with mode 0600; never overwrite one."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.create(path, self._private.private_bytes_raw())

    @property
    def public_key(self) -> str:
        """The public key as 64 hex digits."""
        return self._private.public_key().public_bytes_raw().hex()

    def sign(self, message: bytes, *, purpose: str) -> bytes:
        """Return the 64-byte signature over `purpose` and `message`."""
        return self._private.sign(_framed(message, purpose))


def fingerprint(public_key: str) -> str:
    """Return what two people compare by voice: half the key's SHA-256, in groups of four digits."""
    digest = hashlib.sha256(bytes.fromhex(public_key)).hexdigest()[:32]
    return " ".join(digest[start : start + 4] for start in range(0, len(digest), 4))


def key_fault(public_key: object) -> str:
    """Return why nobody may sign by this public key, as a clause, or "".

    Guarantee: a key without fault is the one spelling (RFC 8032, section 5.1.3) of a point that
    generates the group of prime order. So who does not hold its private half makes no signature,
    and no other text is the same key.

    Args:
        public_key: what should be 64 lower-case hex digits.
    """
    if not isinstance(public_key, str) or re.fullmatch(KEY, public_key) is None:
        return "is not a public key of 64 lower-case hex digits"
    return _point_fault(public_key)


def public_key_term(*, default: str | tuple[str, ...] | None = None) -> Any:  # noqa: ANN401
    """Declare a field that holds public keys, each without fault; see `terms.term`.

    Args:
        default: the value where the key is missing; "" means that there is no key yet.
    """
    if default is None:
        return term(pattern=KEY, check=key_fault)
    return term(default=default, pattern=f"({KEY})?" if default == "" else KEY, check=key_fault)


def verify(public_key: str, message: bytes, signature: bytes, *, purpose: str) -> bool:
    """Say whether `signature` was made over `message` for `purpose` by the holder of the key.

    False for a key that `key_fault` finds fault with, whatever the signature.
    """
    if key_fault(public_key) or signature[:32] == _NEUTRAL:
        # Under a key without fault no other R of small order verifies, nor another spelling of one;
        # by this one the holder gives the private half away.
        return False
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
        key.verify(signature, _framed(message, purpose))
    except (ValueError, InvalidSignature):
        return False
    return True


def _framed(message: bytes, purpose: str) -> bytes:
    # The length prefix makes (purpose, message) unambiguous.
    label = purpose.encode("utf-8")
    return b"fedethics/1\x00" + len(label).to_bytes(2, "big") + label + message


@lru_cache(maxsize=16384)
def _point_fault(encoded: str) -> str:
    # The last bit is the sign of x. Where it could be spelled twice, x is 0 and y is refused.
    y = int.from_bytes(bytes.fromhex(encoded), "little") & (1 << 255) - 1
    if y >= _PRIME:
        return "is spelled in another way than the standard's (its number is not below 2^255 - 19)"
    if y == 1:
        return _NO_GENERATOR
    u = ((1 + y) * pow(1 - y, -1, _PRIME) % _PRIME).to_bytes(32, "little")
    try:
        reached = _MULTIPLIER.exchange(X25519PublicKey.from_public_bytes(u))
    except ValueError:  # zero: a point of small order
        return _NO_GENERATOR
    return "" if reached == u else _NO_GENERATOR
