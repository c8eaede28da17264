"""Whether an attack on the finished adapter contradicts the epsilon that was promised.

An audit never proves privacy: it can only refute. So a bound above the promise fails the gate, one
within it passes as "no contradiction", and a charter without an audit is called unaudited. Where
even an attack without any mistake could not have shown more than was promised, the audit could not
have failed: it is "not informative", and no pass.
"""

from __future__ import annotations

import math

from fedethics.aggregates.aggregate import sum_sha256
from fedethics.charter_sums import AUDIT
from fedethics.errors import AccountingError
from fedethics.privacy.audit.membership import Audit
from fedethics.release.evidence import OpenedSum
from fedethics.release.folder import EVIDENCE, Folder
from fedethics.release.membership import audit_of, promised
from fedethics.release.rules.privacy import genuine_receipts
from fedethics.release.rules.rule import Findings, Measurement, Rule, Topic

NAME = "empirical privacy audit"
UNAUDITED = (
    "Not audited: the charter asks for no membership audit, so no attack on this adapter was made. "
    "Epsilon rests on its proof and on the sites' self-tests."
)
_TOPIC: Topic = "privacy"


def examine(folder: Folder) -> tuple[Rule, ...]:
    """Judge the membership audit."""
    opened = [entry for entry in folder.evidence.rounds if entry.kind == AUDIT]
    if not folder.charter.privacy.audit.asked:
        faults = ("An audit was opened that the charter does not ask for.",) if opened else ()
        return (_rule(Findings(faults=faults), holds=UNAUDITED),)
    try:
        found = audit_of(folder)
    except AccountingError as error:
        return (_rule(Findings(faults=(f"No plan follows from the charter: {error}",)), holds="-"),)
    findings = Findings(
        faults=(*_false_sums(folder, opened), *_contradiction(folder, found)),
        gaps=_missing(folder, opened, found),
        idle="" if found is None or _could_fail(folder, found) else _idle(folder, found),
    )
    holds = "-" if found is None else _consistent(folder, found)
    return (_rule(findings, holds=holds, figure=_figure(folder, found)),)


def not_covered(folder: Folder) -> str:
    """Return what the gate leaves out of empirical audits, for its list."""
    if not folder.charter.privacy.audit.asked:
        return (
            "an empirical privacy audit (attacks on this adapter): not run, the charter asks for "
            "none; epsilon rests on the proof and on the self-tests"
        )
    try:
        found = audit_of(folder)
    except AccountingError:
        found = None
    if found is not None and not _could_fail(folder, found):
        return (
            "an empirical privacy audit that could have failed: at these numbers and this noise "
            "even an attack without any mistake would not have shown more than was promised; "
            "epsilon rests on the proof and on the self-tests"
        )
    return (
        "stronger attacks than the one that was made: thresholds on the loss, the average over all "
        "units of one run; an audit refutes an epsilon or does not, and proves none"
    )


def _rule(findings: Findings, *, holds: str, figure: Measurement | None = None) -> Rule:
    return findings.rule(NAME, topic=_TOPIC, holds=holds, evidence=EVIDENCE, figure=figure)


def _false_sums(folder: Folder, opened: list[OpenedSum]) -> tuple[str, ...]:
    faults: list[str] = []
    if len(opened) > 1:
        faults.append("The audit's histograms were opened more than once; the plan pays for one.")
    if opened and opened[-1].sum_sha256 != sum_sha256(folder.evidence.audit):
        faults.append("The audit's histograms are not the sum that was opened.")
    others = [
        site
        for site, adapter in _attacked(folder).items()
        if adapter not in {None, folder.evidence.model_hash}
    ]
    if others:
        faults.append(f"The histograms of {', '.join(others)} are of another adapter.")
    return tuple(faults)


def _missing(folder: Folder, opened: list[OpenedSum], found: Audit | None) -> tuple[str, ...]:
    if not opened or found is None:
        return ("The charter asks for a membership audit, and no such sum is on record.",)
    attacked = _attacked(folder)
    silent = [site for site in opened[-1].survivors if attacked.get(site) is None]
    if silent:
        return (f"No receipt of {', '.join(silent)} says which adapter was audited.",)
    return ()


def _attacked(folder: Folder) -> dict[str, str | None]:
    return {
        site: told.adapter
        for site, receipt in genuine_receipts(folder).items()
        for told in receipt.sums
        if told.kind == AUDIT
    }


def _contradiction(folder: Folder, found: Audit | None) -> tuple[str, ...]:
    bar = promised(folder.charter)
    if found is None or found.epsilon <= bar:
        return ()
    return (
        f"The attack shows an epsilon of at least {found.epsilon:.2f} (with {found.confidence:.0%} "
        f"confidence), above the {bar:g} that the charter promises: the mechanism or its account "
        "is broken. Do not release this adapter; find out which site's training is not what its "
        "self-test says.",
    )


def _consistent(folder: Folder, found: Audit) -> str:
    unit, bar, area = folder.charter.privacy.unit, promised(folder.charter), found.area
    promise = f"the charter promises {bar:g}" if math.isfinite(bar) else "nothing was promised"
    separated = (
        f"separates trained from held-out {unit}s with an area of {area.figure:.3f} "
        f"({area.low:.3f} to {area.high:.3f}; 0.5 is guessing)"
        if math.isfinite(area.figure)
        else f"has no estimate of its area, for noise left none ({area.low:.3f} to {area.high:.3f})"
        if area.cut
        else f"sees too few {unit}s for an area"
    )
    return (
        f"No contradiction found, which is no proof of privacy: an attack by the loss {separated} "
        f"and shows an epsilon of at least {found.epsilon:.2f}; {promise}. At these numbers and "
        f"this noise, an attack without any mistake could have shown {found.reach:.2f}."
    )


def _could_fail(folder: Folder, found: Audit) -> bool:
    return found.reach > promised(folder.charter)


def _idle(folder: Folder, found: Audit) -> str:
    bar = promised(folder.charter)
    promise = f"the {bar:g} that the charter promises" if math.isfinite(bar) else "no promise"
    return (
        f"{_consistent(folder, found)} So this audit could not have failed, and says nothing: even "
        f"an attack without any mistake would have shown no more than {promise}."
    )


def _figure(folder: Folder, found: Audit | None) -> Measurement | None:
    if found is None:
        return None
    bar = promised(folder.charter)
    return Measurement(
        value=found.epsilon,
        confidence=found.confidence,
        bar=bar if math.isfinite(bar) else None,
        direction="at-most",
    )
