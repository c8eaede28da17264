"""Whether the count of gradient norms is on record. It is advice, so no figure of it can fail."""

from __future__ import annotations

from fedethics.aggregates.norms import NORMS
from fedethics.aggregates.norms.opened import opened_norms
from fedethics.errors import AccountingError
from fedethics.release.folder import EVIDENCE, Folder
from fedethics.release.rules.rule import Findings, Rule

NAME = "gradient norms"


def examine(folder: Folder) -> tuple[Rule, ...]:
    """Judge the count; no rule where the charter does not ask for it and none was opened."""
    charter, evidence = folder.charter, folder.evidence
    if charter.norms is None:
        if not any(entry.kind == NORMS.name for entry in evidence.rounds):
            return ()
        stray = "Gradient norms were counted, which the charter does not ask for."
        return (_rule(Findings(faults=(stray,))),)
    try:
        found = opened_norms(charter, evidence.counted)
    except AccountingError as error:
        return (_rule(Findings(faults=(f"No plan follows from the charter: {error}",))),)
    if found is None:
        missing = "The charter asks for a count of gradient norms, and no such sum is on record."
        return (_rule(Findings(gaps=(missing,))),)
    return (_rule(Findings(idle=f"{found.advice()} This is advice and could not have failed.")),)


def _rule(findings: Findings) -> Rule:
    return findings.rule(NAME, topic="privacy", holds="-", evidence=EVIDENCE)
