"""One file of a release by name, hash and size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fedethics import canonical
from fedethics.release import durable
from fedethics.release.folder import located
from fedethics.terms import KEY, term


@dataclass(frozen=True, kw_only=True, slots=True)
class FileHash:
    """One file of the release, by its path inside the run directory."""

    path: str = term(nonempty=True)
    sha256: str = term(pattern=KEY)
    size: int = term(at_least=0)


def hash_file(run_dir: Path, name: str) -> FileHash:
    """Return the hash of a file of the release, wherever it lies now.

    Raises:
        ReleaseError: missing or unreadable.
    """
    return hash_bytes(name, durable.read(located(run_dir, name)))


def hash_bytes(name: str, data: bytes) -> FileHash:
    """Return the hash of what a file will hold."""
    return FileHash(path=name, sha256=canonical.sha256_hex(data), size=len(data))
