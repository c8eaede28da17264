"""From evidence to a release: gate, pages, manifest, in that order; the adapter is withheld."""

from __future__ import annotations

import os
from pathlib import Path

from fedethics.errors import ReleaseError
from fedethics.identity import Identity
from fedethics.release import durable, folder, gate, manifest, readers
from fedethics.release.decision import decide, decided, place
from fedethics.release.folder import (
    APPROVALS,
    MANIFEST,
    PAGES,
    WITHDRAWAL,
    hash_bytes,
    located,
)
from fedethics.release.gate import GateReport


def publish(run_dir: Path, coordinator: Identity) -> GateReport:
    """Judge a run directory, write gate.json and the pages, and sign the manifest.

    The directory must hold charter.json, evidence.json and the adapter, which is withheld until
    somebody approves (`fedethics.release.approve`). Call it again after adding comparisons.json
    or benchmarks.jsonl.

    Raises:
        ReleaseError: a file is missing or malformed, or cannot be written; or the release was
            approved already, which another manifest would void.
    """
    require_unapproved(run_dir)
    opened = folder.load(run_dir)
    verdict = gate.judge(opened)
    decision = decide(opened.charter, verdict.verdict, ())
    place(run_dir, decision)
    gate.write(verdict, run_dir)
    for name, data in readers.pages_of(opened, verdict, decision).items():
        durable.write(located(run_dir, name), data)
    manifest.write_manifest(run_dir, coordinator)
    return verdict


def require_unapproved(run_dir: Path) -> None:
    """Refuse a run that people approved or withdrew.

    Raises:
        ReleaseError: there are approvals or a withdrawal, which another manifest would void.
    """
    if os.path.lexists(run_dir / WITHDRAWAL):
        raise ReleaseError(
            f"{run_dir} was withdrawn; a new manifest would void the withdrawal. Nothing was "
            "written"
        )
    if os.path.lexists(run_dir / APPROVALS):
        raise ReleaseError(
            f"{run_dir} was approved as it is; a new manifest would void the approval. Nothing "
            f"was written"
        )


def rewrite_reports(run_dir: Path, coordinator: Identity | None = None) -> tuple[Path, ...]:
    """Write the pages again from the evidence, if nothing else of the release has changed.

    Pages that come out as they were signed need no key. Another version of fedethics may word them
    differently; then the coordinator signs a new manifest, which is refused once people approved.

    Raises:
        ReleaseError: another file is not as it was signed, or the pages differ and no coordinator
            key is given, or the release was approved.
    """
    opened = folder.load(run_dir)
    verdict = gate.judge(opened)
    decision, _ = decided(opened, verdict.verdict)
    signed = os.path.lexists(run_dir / MANIFEST)
    problems = manifest.verify_manifest(run_dir, besides=PAGES) if signed else ()
    if problems:
        raise ReleaseError(
            f"{run_dir} is not as its manifest says, so its pages were not rewritten: "
            + " ".join(problems)
        )
    pages = readers.pages_of(opened, verdict, decision)
    listed = {file.path: file for file in (manifest.read_manifest(run_dir).files if signed else ())}
    listed |= {file.path: file for file in decision.pages}
    other = [name for name, data in pages.items() if listed.get(name) != hash_bytes(name, data)]
    if other and (coordinator is None or decision.approvals or decision.withdrawal):
        raise ReleaseError(
            f"{', '.join(other)} would differ from what was signed: this version of fedethics "
            "words them differently. Nothing was written. "
            + (
                "People approved or withdrew the release with the pages as they were"
                if decision.approvals or decision.withdrawal
                else "To sign a new manifest, give the coordinator's key: --key"
            )
        )
    for name, data in pages.items():
        durable.write(located(run_dir, name), data)
    if other and coordinator is not None:
        manifest.write_manifest(run_dir, coordinator)
    return tuple(located(run_dir, name) for name in pages)
