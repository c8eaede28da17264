"""Withdraw a release: record who and why, say so on every page, take the adapter out.

Guarantee: a person who may approve a release can withdraw it alone, whatever else is wrong with it.
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

from fedethics.errors import ApprovalRefused
from fedethics.identity import Identity
from fedethics.release import decision, durable, folder, gate, readers, withdrawal_note
from fedethics.release.approve import require_reason, signer_of
from fedethics.release.decision import Decision, decided, place, placement_fault
from fedethics.release.folder import MANIFEST, Folder, hash_bytes, located
from fedethics.release.gate import GateReport
from fedethics.release.pages import renderer_sha256
from fedethics.release.withdrawal_note import Withdrawal


def withdraw(
    run_dir: Path,
    identity: Identity,
    *,
    role: str,
    reason: str,
    withdrawn: datetime | None = None,
) -> Decision:
    """Record a withdrawal, signed over the manifest's hash. It cannot be undone.

    Where a note of a withdrawal lies already, and the adapter still in the release, that one is
    carried out: its process was ended, or the note was copied here.

    Args:
        run_dir: the release.
        identity: the key of somebody who may approve the release.
        role: as the charter names its holder.
        reason: why; printed in every report.
        withdrawn: when; now, if not given.

    Returns:
        Where the release stands now.

    Raises:
        ApprovalRefused: nothing is released here, it was withdrawn already, the key may not
            withdraw it, or no reason is given. Nothing was recorded.
        ReleaseError: a file is missing or malformed, or cannot be written.
    """
    opened = folder.load(run_dir)
    judged = gate.judge(opened)
    signer = signer_of(opened, identity, role)
    require_reason(reason)
    before, _ = decided(opened, judged.verdict)
    if before.withdrawal is not None and placement_fault(run_dir, before):
        return _finished(opened, judged, before)
    _require_approved(run_dir, before)
    made = Withdrawal(
        role=signer.role,
        name=signer.name,
        public_key=signer.public_key,
        withdrawn=(withdrawn or datetime.now(UTC)).isoformat(timespec="seconds"),
        reason=" ".join(reason.split()),
        manifest_sha256=durable.file_sha256(run_dir / MANIFEST),
        renderer_sha256=renderer_sha256(),
    )
    taken = decision.withdrawn(before, made)
    pages = readers.pages_of(opened, judged, taken)
    hashes = tuple(hash_bytes(name, data) for name, data in pages.items())
    # The note first: from then on nobody uses the adapter, even if this process ends here.
    withdrawal_note.write(
        withdrawal_note.signed(dataclasses.replace(made, pages=hashes), identity), run_dir
    )
    for name, data in pages.items():
        durable.write(located(run_dir, name), data)
    place(run_dir, taken)
    return taken


def _require_approved(run_dir: Path, before: Decision) -> None:
    # Also where approvals are void by now: what was handed on is taken back all the same.
    if before.withdrawal is not None or not decision.load(run_dir):
        raise ApprovalRefused(
            f"{run_dir} holds no release that could be withdrawn; nothing was recorded. "
            f"{before.sentence}"
        )


def _finished(opened: Folder, judged: GateReport, standing: Decision) -> Decision:
    """Carry out a withdrawal that is on record: its pages as they were signed, the adapter out."""
    signed = set(standing.pages)
    for name, data in readers.pages_of(opened, judged, standing).items():
        if hash_bytes(name, data) in signed:  # another version words them differently
            durable.write(located(opened.path, name), data)
    place(opened.path, standing)
    return standing
