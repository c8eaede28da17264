"""The key by which Flower's SuperLink admits a site's node: ECDSA P-384 in OpenSSH's form.

It proves to the SuperLink which machine calls; it signs nothing of the protocol, which the site's
identity does.
"""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
    load_ssh_public_key,
)

from fedethics.errors import EnrolmentError


def new_node_key() -> bytes:
    """Return a new private key as OpenSSH writes it."""
    key = ec.generate_private_key(ec.SECP384R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def public_half(private: bytes) -> str:
    """Return the public key of a private one, one line without a comment.

    Raises:
        EnrolmentError: not an ECDSA P-384 key in OpenSSH's form.
    """
    try:
        key = load_ssh_private_key(private, None)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise EnrolmentError(f"the node key is not an OpenSSH private key: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp384r1":
        raise EnrolmentError("the node key is not ECDSA on the curve P-384")
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return public.decode("ascii")


def check_public(line: str) -> None:
    """Refuse a public key that Flower's node authentication would not take.

    Raises:
        EnrolmentError: not an ECDSA P-384 key in OpenSSH's form.
    """
    try:
        key = load_ssh_public_key(line.encode("utf-8"))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise EnrolmentError(f"the node's public key is not an OpenSSH one: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp384r1":
        raise EnrolmentError("the node's public key is not ECDSA on the curve P-384")
