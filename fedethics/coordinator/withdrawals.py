"""Tell sites which releases were withdrawn, at the first contact of whatever job comes next."""

from __future__ import annotations

from pathlib import Path

from fedethics import canonical, terms
from fedethics.canonical import Json
from fedethics.coordinator.federation import Federation, untaken
from fedethics.coordinator.job import RunSettings
from fedethics.protocol import Action
from fedethics.release import withdrawal_note
from fedethics.release.folder import WITHDRAWAL
from fedethics.release.withdrawal_note import MOST_TOLD


def known(settings: RunSettings) -> bytes:
    """Return the notes of withdrawal beside this job and in the release that it rests on.

    Raises:
        ReleaseError: a note is malformed.
    """
    folders = sorted(path.parent for path in settings.job_path.parent.glob(f"*/{WITHDRAWAL}"))
    if settings.start_path is not None:
        folders.append(settings.start_path)
    found: dict[str, Json] = {}
    for folder in folders:
        note = withdrawal_note.load(Path(folder))
        if note is not None:
            found[note.manifest_sha256] = terms.document(note)
    newest: list[Json] = list(found.values())[-MOST_TOLD:]
    return canonical.encode(newest) if newest else b""


def send(federation: Federation, notes: bytes) -> None:
    """Send the notes to every node that is connected; no answer is needed."""
    nodes = federation.exchange.nodes()
    if notes and nodes:
        federation.broadcast(Action.READY, nodes, {"withdrawn": notes}, "", untaken)
        federation.refusals.clear()
