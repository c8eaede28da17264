"""Notes of withdrawal that reach a site: checked, kept, and put into its copy of the release.

Guarantee: a note counts only if somebody signed it whom a charter of this site lets approve that
federation's releases. It can stop an adapter from being used and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fedethics import canonical, terms
from fedethics.charter import document
from fedethics.charter.model import Charter
from fedethics.errors import FedethicsError, ReleaseError, SecaggReject
from fedethics.release import durable, withdrawal_note
from fedethics.release.decision import approvers
from fedethics.release.folder import MANIFEST, WITHDRAWAL
from fedethics.release.withdrawal_note import MOST_TOLD, Withdrawal
from fedethics.site.home import SiteHome, archived
from fedethics.site.log import SiteLog

FOLDER = "withdrawn"
_MOST_BYTES = 1 << 20


def take_withdrawals(home: SiteHome, data: bytes, log: SiteLog) -> None:
    """Keep the notes that count in `withdrawn/`, and put them into the release of `start-dir`.

    Raises:
        SecaggReject: not a list of notes; nothing was kept.
    """
    charters = tuple(_charters(home))
    for note in _read(data):
        allowed = [signer for charter in charters for signer in approvers(charter)]
        if withdrawal_note.fault(note, allowed, manifest_sha256=note.manifest_sha256):
            log.write("withdrawal not taken", release=note.manifest_sha256)
            continue
        kept = home.path / FOLDER / f"{note.manifest_sha256}.json"
        if not kept.exists():
            kept.parent.mkdir(mode=0o700, exist_ok=True)
            durable.write(kept, canonical.encode(terms.document(note)), mode=0o600)
            log.write("release withdrawn", release=note.manifest_sha256, by=note.role)
        _put_into_copy(home.start_dir, note, log)


def withdrawn_here(home: SiteHome) -> tuple[Withdrawal, ...]:
    """Return the notes that this site was told of.

    Raises:
        ReleaseError: a note is malformed.
    """
    paths = sorted((home.path / FOLDER).glob("*.json"))
    return tuple(
        terms.parse(Withdrawal, durable.read(path), what=str(path), error=ReleaseError)
        for path in paths
    )


def _read(data: bytes) -> Iterator[Withdrawal]:
    try:
        listed = canonical.parse(data) if len(data) <= _MOST_BYTES else None
    except ValueError as error:
        raise SecaggReject("the notes of withdrawal are not canonical; none was kept") from error
    if not isinstance(listed, list) or len(listed) > MOST_TOLD:
        raise SecaggReject("the notes of withdrawal are no list of notes; none was kept")
    for one in listed:
        yield terms.parse(
            Withdrawal, canonical.encode(one), what="a note of withdrawal", error=SecaggReject
        )


def _charters(home: SiteHome) -> Iterator[Charter]:
    present = (home.charter_path,) if home.charter_path.exists() else ()
    for path in (*present, *archived(home.charter_path)):
        yield document.load(path)


def _put_into_copy(release: Path | None, note: Withdrawal, log: SiteLog) -> None:
    """Write the note into this site's copy of that release, where it has one and may."""
    if release is None or (release / WITHDRAWAL).exists():
        return
    try:
        if durable.file_sha256(release / MANIFEST) == note.manifest_sha256:
            withdrawal_note.write(note, release)
    except FedethicsError as error:
        log.write("withdrawal not written into the release", why=str(error))
