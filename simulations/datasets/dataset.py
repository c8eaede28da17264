"""A public data set: where it comes from, how its bytes become CSV, and what was mended.

Guarantee: `fetch` writes nothing unless every byte it started from has the expected SHA-256, and
a folder with SOURCE.json is complete: the file is written last, with the hash of every other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedethics.canonical import sha256_hex
from fedethics.carrier import Carrier, fetch_members
from fedethics.simulation.partition import ALL, SOURCE
from fedethics.storage import files

__all__ = ["ALL", "SOURCE", "Dataset"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """One data set.

    Attributes:
        name: its folder, and its name on the command line.
        what: title, authors, year, where it was published.
        licence: under which the data are given, as far as their publisher says so.
        carriers: package files that it is taken from; none of their code runs.
        mended: what was left out, recoded or moved, and why; one sentence each.
        convert: the carriers' bytes, in order, to files by name. Raises SetupError.
        revision: raised when `convert` changes, so that older folders are made again.
        by_name_only: whether it is fetched only where it is named, not with all others: a data set
            without a stated licence.
    """

    name: str
    what: str
    licence: str
    carriers: tuple[Carrier, ...]
    mended: tuple[str, ...]
    convert: Callable[[Sequence[bytes]], Mapping[str, bytes]]
    revision: int = 1
    by_name_only: bool = False

    def fetch(self, folder: Path) -> bool:
        """Write the files and SOURCE.json to `folder`; False if they are there already.

        Raises:
            SetupError: a package could not be got, or its bytes are not those expected.
        """
        if self.is_there(folder):
            return False
        files = self.convert(fetch_members(self.carriers))
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            _write(folder / name, data)
        source = json.dumps(self._source(files), indent=2, sort_keys=True) + "\n"
        _write(folder / SOURCE, source.encode())
        return True

    def is_there(self, folder: Path) -> bool:
        """Say whether `folder` holds every file with the SHA-256 that SOURCE.json gives."""
        try:
            source = json.loads((folder / SOURCE).read_text(encoding="utf-8"))
            files: dict[str, str] = source["files"]
            return (
                source["members"] == self._members()
                and source["revision"] == self.revision
                and bool(files)
                and all(sha256_hex((folder / name).read_bytes()) == files[name] for name in files)
            )
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _members(self) -> dict[str, str]:
        return {carrier.member: carrier.member_sha256 for carrier in self.carriers}

    def _source(self, files: Mapping[str, bytes]) -> dict[str, object]:
        return {
            "what": self.what,
            "licence": self.licence,
            "wheels": {carrier.requirement: carrier.wheel_sha256 for carrier in self.carriers},
            "members": self._members(),
            "mended": list(self.mended),
            "revision": self.revision,
            "files": {name: sha256_hex(data) for name, data in files.items()},
        }


def _write(path: Path, data: bytes) -> None:
    files.replace(path, data, mode=files.PUBLIC)
