"""Whether a release is what it says, checked offline from its directory alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fedethics.errors import ReleaseError
from fedethics.release import folder, gate, manifest
from fedethics.release.folder import GATE, MANIFEST, Folder
from fedethics.release.gate import GateReport
from fedethics.release.rules.privacy import receipt_faults


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that was checked, and what is wrong with it; nothing wrong is an empty tuple."""

    name: str
    problems: tuple[str, ...]


def verify(run_dir: Path) -> tuple[Check, ...]:
    """Check file hashes, the sites' signatures, and that the verdict follows from the evidence.

    Raises:
        ReleaseError: charter.json or evidence.json is missing or malformed.
        CharterError: charter.json is not a charter with a roster.
    """
    opened = folder.load(run_dir)
    judged = gate.judge(opened)
    return (
        Check(name="files are those of the manifest", problems=_files(run_dir)),
        Check(name="manifest names what it was made from", problems=_sources(opened)),
        Check(name="receipts are signed by the roster's keys", problems=receipt_faults(opened)),
        Check(name="verdict follows from the evidence", problems=_verdict(run_dir, judged)),
    )


def _files(run_dir: Path) -> tuple[str, ...]:
    try:
        return manifest.verify_manifest(run_dir)
    except ReleaseError as error:
        return (str(error),)


def _sources(opened: Folder) -> tuple[str, ...]:
    try:
        found = manifest.read_manifest(opened.path)
    except ReleaseError as error:
        return (str(error),)
    said = opened.evidence
    pairs = {
        "run": (found.run_id, said.run_id),
        "charter": (found.charter_sha256, said.charter_hash),
        "data schema": (found.schema_sha256, said.schema_hash),
        "code": (found.code_sha256, said.code_hash),
        "base model": (found.base_model_sha256, said.base_model_sha256),
        "adapter": (found.adapter_sha256, said.model_hash),
    }
    return tuple(
        f"{MANIFEST} names {what} {listed[:12]}, the evidence {stated[:12]}."
        for what, (listed, stated) in pairs.items()
        if listed != stated
    )


def _verdict(run_dir: Path, judged: GateReport) -> tuple[str, ...]:
    try:
        recorded = gate.recorded(run_dir)
        claimed = manifest.read_manifest(run_dir).verdict
    except ReleaseError as error:
        return (str(error),)
    problems = []
    if gate.encode(recorded) != gate.encode(judged):
        problems.append(
            f"{GATE} says {recorded.verdict!r}, but charter and evidence give {judged.verdict!r}"
            " (or another finding under the same verdict)."
        )
    if claimed != judged.verdict:
        problems.append(f"{MANIFEST} says {claimed!r}, the evidence gives {judged.verdict!r}.")
    return tuple(problems)
