"""Whether those whom the charter names stood behind it, before the run began."""

from __future__ import annotations

from datetime import datetime

from fedethics.charter.signing import CharterSignature, standing
from fedethics.release.folder import EVIDENCE, Folder
from fedethics.release.rules.rule import Findings, Rule, Topic

_TOPIC: Topic = "integrity"
SIMULATED = (
    "These are simulated signatures: the simulation drew the keys and signed with them itself, so "
    "they show the path and nobody's consent."
)
UNWATCHED = (
    "The charter names no stakeholder: nobody besides the sites and the coordinator was asked to "
    "stand behind its bars."
)


def examine(folder: Folder) -> tuple[Rule, ...]:
    """Judge the charter's signatures."""
    found = standing(folder.charter, folder.evidence.charter_signatures)
    late = [
        f"{one.role} {one.name} signed at {one.signed}, after the run began."
        for one in found.valid
        if _time(one.signed) > _time(folder.evidence.started)
    ]
    watched = bool(folder.charter.ethics.stakeholders)
    missing = ", ".join(signer.label for signer in found.missing)
    faults = [*found.void, *late]
    if watched and missing:
        faults.append(f"Not signed by {missing}.")
    findings = Findings(faults=tuple(faults))
    holds = _holds(found.valid, missing=missing, watched=watched)
    return (
        findings.rule(
            "charter signed by all it names", topic=_TOPIC, holds=holds, evidence=EVIDENCE
        ),
    )


def _holds(valid: tuple[CharterSignature, ...], *, missing: str, watched: bool) -> str:
    parts = [] if watched else [UNWATCHED]
    if not missing:
        parts.append(
            f"All {len(valid)} whom the charter names signed its bytes before the run, by their "
            "own clocks; a changed bar would void every signature."
        )
    elif valid:
        parts.append(f"{len(valid)} signed it; not signed by {missing}.")
    else:
        parts.append(
            "Nobody signed it. That its bars were fixed before the run rests on the sites' "
            "receipts, which name its hash."
        )
    if any(one.simulated for one in valid):
        parts.append(SIMULATED)
    return " ".join(parts)


def _time(written: str) -> datetime:
    return datetime.fromisoformat(written)
