"""Whether those whom the charter names stood behind it, before the run began."""

from __future__ import annotations

from datetime import datetime, timedelta

from fedethics.charter.signing import CharterSignature, standing
from fedethics.release.folder import EVIDENCE, Folder
from fedethics.release.rules.privacy import genuine_receipts
from fedethics.release.rules.rule import Findings, Rule, Topic

_TOPIC: Topic = "integrity"
# How far the clocks of a signer, a site and the coordinator may be apart, in all.
CLOCKS_APART = timedelta(hours=1)
SIMULATED = (
    "These are simulated signatures: the simulation made the keys and signed with them itself. "
    "They show how signing works, and not that any person agreed."
)
UNWATCHED = (
    "The charter names no stakeholder: only the sites and the coordinator were asked to agree to "
    "its bars."
)


def examine(folder: Folder) -> tuple[Rule, ...]:
    """Judge the charter's signatures."""
    found = standing(folder.charter, folder.evidence.charter_signatures)
    began, unsaid = _beginnings(folder)
    late = [*_late(folder, found.valid, began), *_moved(folder, began)]
    watched = bool(folder.charter.ethics.stakeholders)
    missing = ", ".join(signer.label for signer in found.missing)
    faults = [*found.void, *late]
    if watched and missing:
        faults.append(f"Not signed by {missing}.")
    gaps = (f"No receipt of {', '.join(unsaid)} says when the run began there.",) if unsaid else ()
    findings = Findings(faults=tuple(faults), gaps=gaps if found.valid else ())
    holds = _holds(found.valid, missing=missing, watched=watched)
    return (
        findings.rule(
            "charter signed by all it names", topic=_TOPIC, holds=holds, evidence=EVIDENCE
        ),
    )


def _beginnings(folder: Folder) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return when each site was first charged, as it signed, and which sites do not say."""
    said = {site: receipt.began for site, receipt in genuine_receipts(folder).items()}
    sites = folder.charter.site_names
    return (
        {site: began for site, began in said.items() if began},
        tuple(site for site in sites if not said.get(site)),
    )


def _late(
    folder: Folder, signatures: tuple[CharterSignature, ...], began: dict[str, str]
) -> list[str]:
    """Hold each signature to the coordinator's word and, since that is free, to the sites'."""
    late: list[str] = []
    for one in signatures:
        who = f"{one.role} {one.name} signed at {one.signed}, after the run began"
        if _time(one.signed) > _time(folder.evidence.started):
            late.append(f"{who}.")
            continue
        first = min(began.items(), key=lambda item: _time(item[1]), default=None)
        if first is not None and _time(one.signed) - _time(first[1]) > CLOCKS_APART:
            late.append(f"{who}: {first[0]} was first charged at {first[1]}, by its receipt.")
    return late


def _moved(folder: Folder, began: dict[str, str]) -> list[str]:
    """Return whom the coordinator's beginning and end of the run contradict."""
    started, finished = folder.evidence.started, folder.evidence.finished
    faults = [
        f"The coordinator says that the run began at {started}; {site} was first charged at {when}."
        for site, when in began.items()
        if _time(started) - _time(when) > CLOCKS_APART
    ]
    if _time(finished) < _time(started):
        faults.append(f"The coordinator says that the run ended at {finished}, before it began.")
    return faults


def _holds(valid: tuple[CharterSignature, ...], *, missing: str, watched: bool) -> str:
    parts = [] if watched else [UNWATCHED]
    if not missing:
        parts.append(
            f"All {len(valid)} whom the charter names signed its bytes before any site was "
            "first charged for the run, by their own clocks and within an hour; a changed bar "
            "would void every signature."
        )
    elif valid:
        parts.append(f"{len(valid)} signed it; not signed by {missing}.")
    else:
        parts.append(
            "No one signed it. Only the sites' receipts, which name its hash, show that its bars "
            "were fixed before the run."
        )
    if any(one.simulated for one in valid):
        parts.append(SIMULATED)
    return " ".join(parts)


def _time(written: str) -> datetime:
    return datetime.fromisoformat(written)
