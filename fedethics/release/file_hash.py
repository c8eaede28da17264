"""One file of a release by name, hash and size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fedethics import canonical
from fedethics.errors import ReleaseError
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
    path = located(run_dir, name)
    digest = durable.file_sha256(path)
    try:
        size = path.lstat().st_size
    except OSError as error:
        raise ReleaseError(f"{path} cannot be read: {error.strerror}") from error
    return FileHash(path=name, sha256=digest, size=size)


def hash_bytes(name: str, data: bytes) -> FileHash:
    """Return the hash of what a file will hold."""
    return FileHash(path=name, sha256=canonical.sha256_hex(data), size=len(data))
