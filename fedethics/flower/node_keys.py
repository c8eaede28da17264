"""A site's node key as Flower stores it."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from fedethics.errors import SetupError


def node_key(file: Path) -> bytes:
    """Return the public node key in `file`.

    Raises:
        SetupError: not an elliptic-curve public key in OpenSSH's form.
    """
    try:
        key = load_ssh_public_key(file.read_bytes())
    except (OSError, ValueError) as error:
        raise SetupError(f"node key {file} cannot be read: {type(error).__name__}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise SetupError(f"node key {file} is not an elliptic-curve key; make it with P-384")
    return public_key_to_bytes(key)
