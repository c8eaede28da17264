"""From evidence to a release: gate, model card, report and manifest, in that order."""

from __future__ import annotations

from pathlib import Path

from fedethics.errors import ReleaseError
from fedethics.release import card, folder, gate, manifest, report
from fedethics.release.folder import MANIFEST, REPORT
from fedethics.release.gate import GateReport


def publish(run_dir: Path) -> GateReport:
    """Judge a run directory and write gate.json, the model card, report.html and manifest.json.

    The directory must hold charter.json, evidence.json and the adapter. Call it again after
    adding comparisons.json.

    Raises:
        ReleaseError: a file is missing or malformed, or cannot be written.
    """
    opened = folder.load(run_dir)
    verdict = gate.judge(opened)
    gate.write(verdict, run_dir)
    card.write_card(opened, verdict)
    report.write_report(run_dir)
    manifest.write_manifest(run_dir)
    return verdict


def rewrite_report(run_dir: Path) -> Path:
    """Write report.html again, and its hash into the manifest, if nothing else has changed.

    Raises:
        ReleaseError: another file is not what the manifest says; a new manifest would hide that.
    """
    listed = (run_dir / MANIFEST).is_file()
    problems = manifest.verify_manifest(run_dir, besides=(REPORT,)) if listed else ()
    if problems:
        raise ReleaseError(
            f"{run_dir} is not as its manifest says, so its report was not rewritten: "
            + " ".join(problems)
        )
    path = report.write_report(run_dir)
    if listed:
        manifest.write_manifest(run_dir)
    return path
