"""Long-term signing identities: one Ed25519 key pair for each site and for the coordinator.

Guarantee: a private key is written once with mode 0600 and never leaves the machine; signatures
carry a purpose, so one made for a ledger entry can never pass as one on a charter.
Source: RFC 8032 (Ed25519), by way of `cryptography`.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fedethics import ownership
from fedethics.errors import PolicyError


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
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(self._private.private_bytes_raw())
            file.flush()
            os.fsync(file.fileno())

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


def verify(public_key: str, message: bytes, signature: bytes, *, purpose: str) -> bool:
    """Say whether `signature` was made over `message` for `purpose` by the holder of the key."""
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
