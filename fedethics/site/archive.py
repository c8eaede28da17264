"""Every charter that was in force here, kept by hash in `charters/` beside the present one.

The ledger names charters by hash, so that a receipt of an old run needs the charter of that run.
"""

from __future__ import annotations

import re
from pathlib import Path

from fedethics.charter import document
from fedethics.charter.model import Charter
from fedethics.charter.signing import signatures_path
from fedethics.errors import CharterError
from fedethics.site.home import SiteHome
from fedethics.storage import files
from fedethics.terms import KEY

FOLDER = "charters"


def archive_charter(charter_path: Path) -> None:
    """Keep a copy of a charter, and move what was signed over it beside the copy.

    Raises:
        CharterError: there is none, or it cannot be kept.
    """
    charter = document.load(charter_path)
    kept = _path(charter_path, document.hash_of(charter))
    signed = signatures_path(charter_path)
    try:
        kept.parent.mkdir(mode=0o700, exist_ok=True)
        if not kept.exists():
            files.replace(kept, document.encode(charter))
        if signed.exists():
            files.move(signed, signatures_path(kept))
    except OSError as error:
        raise CharterError(f"{kept} cannot be written: {error.strerror}") from error


def charter_of(home: SiteHome, charter_hash: str) -> Charter:
    """Return the charter of this hash: the present one or one kept.

    Raises:
        CharterError: this site never had it, or the kept copy was changed.
    """
    for path in (home.charter_path, _path(home.charter_path, charter_hash)):
        if path.exists():
            charter = document.load(path)
            if document.hash_of(charter) == charter_hash:
                return charter
    raise CharterError(
        f"charter {charter_hash[:16]}... is neither {home.charter_path} nor in "
        f"{home.charter_path.parent / FOLDER}; put its charter.json there under its hash"
    )


def archived(charter_path: Path) -> tuple[Path, ...]:
    """Return every charter that is kept beside this one."""
    kept = (charter_path.parent / FOLDER).glob("*.json")
    return tuple(sorted(path for path in kept if re.fullmatch(KEY, path.stem)))


def _path(charter_path: Path, charter_hash: str) -> Path:
    return charter_path.parent / FOLDER / f"{charter_hash}.json"
