"""All that the reports say, built once: every reader's page and report.json come from this.

Guarantee: every number is recomputed from charter, evidence, approvals and comparisons; equal
directories give equal content.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedethics.charter.model import Charter
from fedethics.privacy.meaning import NOT_COVERED
from fedethics.release import comparisons
from fedethics.release.decision import Decision
from fedethics.release.evidence import Evidence
from fedethics.release.folder import COMPARISONS, Folder
from fedethics.release.gate import GateReport
from fedethics.release.sections import (
    audited,
    calibrated,
    compared,
    explained,
    groups,
    mapping,
    openings,
    people,
    provenance,
    released,
    rounds,
    signed,
    spending,
    steered,
)
from fedethics.release.sections.block import Block, Table
from fedethics.release.server_saw import SERVER_SAW


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """The parts that templates show; a part that a run does not have is absent."""

    charter: Charter
    evidence: Evidence
    gate: GateReport
    decision: Decision
    people: people.People
    why: dict[str, str]
    objectives: Block
    rates: tuple[Block, ...]
    rocs: tuple[Block, ...]
    calibrations: tuple[Block, ...]
    gaps: Table
    withheld: tuple[str, ...]
    explained: explained.WhatItLooksAt | None
    tradeoff: Block | None
    compared: Block | None
    notes: tuple[str, ...]
    spending: Block | None
    receipts: Table
    releases: Table
    mechanisms: Table
    bound: str
    audited: audited.Audited
    not_bounded: tuple[str, ...]
    progress: Block | None
    cohorts: Table
    steered: Block | None
    weights: Table | None
    signers: Table
    server_saw: tuple[str, ...]
    openings: dict[str, openings.Opening]
    signing: str
    approvals: Table | None
    annex_iv: Table
    measure: Table
    hashes: Table
    versions: Table
    facts: Table


def build(opened: Folder, verdict: GateReport, decision: Decision) -> Content:
    """Build everything.

    Raises:
        ReleaseError: comparisons.json is malformed.
    """
    found = comparisons.load(opened.path / COMPARISONS)
    bound, annex_iv = spending.bound(opened), mapping.annex_iv(opened, decision)
    return Content(
        charter=opened.charter,
        evidence=opened.evidence,
        gate=verdict,
        decision=decision,
        people=people.build(opened, verdict),
        why=_reasons(opened, verdict),
        objectives=groups.objectives(verdict),
        rates=groups.rates(opened),
        rocs=groups.roc_curves(opened),
        calibrations=calibrated.build(opened),
        gaps=groups.gaps(opened),
        withheld=groups.withheld(opened),
        explained=explained.build(opened),
        tradeoff=compared.tradeoff(found) if found else None,
        compared=compared.build(found) if found else None,
        notes=found.notes if found else (),
        spending=spending.over_time(opened),
        receipts=spending.receipts(opened),
        releases=released.build(opened),
        mechanisms=spending.facts(opened),
        bound=bound,
        audited=audited.build(opened, verdict),
        not_bounded=NOT_COVERED,
        progress=rounds.metrics(opened),
        cohorts=rounds.cohorts(opened),
        steered=steered.over_time(opened),
        weights=steered.weights(opened),
        signers=signed.signers(opened),
        server_saw=SERVER_SAW,
        openings={
            "privacy": openings.privacy(opened, verdict, bound=bound),
            "regulator": openings.regulator(opened, verdict, annex_iv=annex_iv),
        },
        signing=signed.summary(opened),
        approvals=signed.approvals(decision),
        annex_iv=annex_iv,
        measure=mapping.measure(opened, decision),
        hashes=provenance.hashes(opened),
        versions=provenance.versions(opened),
        facts=provenance.facts(opened),
    )


def _reasons(opened: Folder, verdict: GateReport) -> dict[str, str]:
    stated = opened.charter.ethics.objectives
    # The gate answers the objectives first, in the charter's order.
    pairs = zip(verdict.rules, stated, strict=False)
    return {rule.name: objective.why for rule, objective in pairs}
