"""The hash of the code that ran: every Python source of fedethics, server and clients."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

_ROOTS = ("fedethics", "server", "clients")
PACKAGES = (
    "flwr", "torch", "opacus", "peft", "transformers", "numpy", "cryptography", "dp-accounting",
)  # fmt: skip


def code_hash() -> str:
    """Return the SHA-256 over names and bytes of all sources, in sorted order."""
    digest = hashlib.sha256()
    for root in _ROOTS:
        spec = find_spec(root)
        for folder in spec.submodule_search_locations or () if spec else ():
            for path in sorted(Path(folder).rglob("*.py")):
                name = f"{root}/{path.relative_to(folder).as_posix()}".encode()
                data = path.read_bytes()
                digest.update(len(name).to_bytes(4, "big") + name)
                digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that the result depends on."""
    return {name: version(name) for name in PACKAGES}
