"""All that the reports say, built once: every reader's page and report.json come from this.

Guarantee: every number is recomputed from charter, evidence, approvals and comparisons; equal
directories give equal content.

What the coordinator sees of a run: a fact of the protocol, and no claim of any coordinator.

The list is a claim of fedethics that sites can check against the protocol. It is printed from here,
not from the evidence: what only a coordinator writes must not say what it did not see.

report.json: what the pages say, as data, for those who compare releases by program.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from fedethics import terms, texts
from fedethics.aggregates.at_report import sections_of
from fedethics.aggregates.registry import AGGREGATES
from fedethics.canonical import Json
from fedethics.charter import document
from fedethics.charter.model import Charter
from fedethics.privacy.meaning import NOT_COVERED
from fedethics.release import comparisons
from fedethics.release.decision import Decision
from fedethics.release.evidence import Evidence
from fedethics.release.folder import COMPARISONS, Folder
from fedethics.release.frameworks.framework import Facts, Mapped
from fedethics.release.frameworks.registry import all_mapped
from fedethics.release.gate import GateReport
from fedethics.release.sections import (
    audited,
    benchmarks,
    compared,
    explained,
    groups,
    openings,
    people,
    released,
    rounds,
    settings,
    spending,
    steered,
)
from fedethics.release.sections.block import Block, Section, Table

SERVER_SAW = (
    "each site's announcement and acknowledgement: its name, one-time public keys, nonces and (in "
    "suite 3) ciphertexts for other members, and its signature",
    "for each sum: encrypted shares between sites, commitments (hashes) and signatures",
    "for each sum: one masked vector a site, uniformly random to anyone without the masks",
    "shares that open the sum over the survivors, and nothing else",
    "for each sum: which slices of it each site asked to check, and its signed statement that the "
    "sum passed",
    "the opened sums: the weighted update with every site's noise in it, and the noised counts, of "
    "held-out records and, where the charter steers training between groups or asks for a "
    "membership audit, of training records; "
    "where the charter asks for explanations, noised sums of score changes of held-out records too",
    "which sites answered, refused (as a code) or did not answer, and when",
    "a signed receipt from each site: epsilon spent on this run, rounds charged, whether its "
    "self-test passed, whether noise was fixed for tests, and its ledger's length and newest "
    "hash; for each sum that it helped to open: session, sites, hash and whether it passed its "
    "check; which sites countersigned the list of all receipts",
    "what the charter makes public: declared records, terms and keys",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """The parts that templates show; a part that a run does not have is absent."""

    charter: Charter
    evidence: Evidence
    gate: GateReport
    decision: Decision
    people: people.People
    unsettled: tuple[openings.Unsettled, ...]
    why: dict[str, str]
    objectives: Block
    rates: tuple[Block, ...]
    rocs: tuple[Block, ...]
    calibrations: tuple[Block, ...]
    gaps: Table
    split_gaps: groups.Gaps
    withheld: tuple[str, ...]
    explained: explained.WhatItLooksAt | None
    benchmarks: Section | None
    tradeoff: Block | None
    compared: Block | None
    notes: tuple[str, ...]
    spending: Block | None
    receipts: Table
    releases: Table
    mechanisms: Table
    settings: settings.Settings | None
    bound: str
    audited: audited.Audited
    sums: dict[str, Section]
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
    frameworks: dict[str, Mapped]
    hashes: Table
    versions: Table
    facts: Table


def build(opened: Folder, verdict: GateReport, decision: Decision) -> Content:
    """Build everything.

    Raises:
        ReleaseError: comparisons.json is malformed.
    """
    found = comparisons.load(opened.path / COMPARISONS)
    bound, gaps = spending.bound(opened), groups.gaps(opened)
    affected = people.build(opened, verdict)
    frameworks = all_mapped(Facts(folder=opened, gate=verdict, decision=decision))
    return Content(
        charter=opened.charter,
        evidence=opened.evidence,
        gate=verdict,
        decision=decision,
        people=affected,
        unsettled=openings.unsettled(verdict),
        why=_reasons(opened, verdict),
        objectives=groups.objectives(verdict),
        rates=groups.rates(opened),
        rocs=groups.roc_curves(opened),
        calibrations=groups.calibration(opened),
        gaps=gaps.all,
        split_gaps=gaps,
        withheld=groups.withheld(opened),
        explained=explained.build(opened),
        benchmarks=benchmarks.build(opened),
        tradeoff=compared.tradeoff(found) if found else None,
        compared=compared.build(found) if found else None,
        notes=found.notes if found else (),
        spending=spending.over_time(opened),
        receipts=spending.receipts(opened),
        releases=released.build(opened),
        mechanisms=spending.facts(opened),
        settings=settings.build(opened),
        bound=bound,
        audited=audited.build(opened, verdict),
        sums=sections_of(opened, verdict),
        not_bounded=NOT_COVERED,
        progress=rounds.metrics(opened),
        cohorts=rounds.cohorts(opened),
        steered=steered.over_time(opened),
        weights=steered.weights(opened),
        signers=released.signers(opened),
        server_saw=(*SERVER_SAW, *_also_seen(opened.charter)),
        openings={
            "privacy": openings.privacy(opened, verdict, bound=bound),
            "regulator": openings.regulator(opened, verdict, mapped=tuple(frameworks.values())),
            "site": openings.site(opened, verdict),
            "researcher": openings.researcher(opened, verdict, tested=affected.summary),
        },
        signing=released.summary(opened),
        approvals=released.approvals(decision),
        frameworks=frameworks,
        hashes=released.hashes(opened),
        versions=released.versions(opened),
        facts=released.facts(opened),
    )


def _also_seen(charter: Charter) -> tuple[str, ...]:
    return tuple(
        each.seen for each in AGGREGATES.values() if each.seen and each.permissions(charter)
    )


def _reasons(opened: Folder, verdict: GateReport) -> dict[str, str]:
    stated = opened.charter.ethics.objectives
    # The gate answers the objectives first, in the charter's order.
    pairs = zip(verdict.rules, stated, strict=False)
    said = {rule.name: objective.why for rule, objective in pairs}
    return said | {one.title: one.why for one in opened.charter.ethics.benchmarks or ()}


# Whole documents of their own beside the report; of the decision, what the pages say; and what is
# made from the other parts.
_ELSEWHERE = {"charter", "evidence", "decision", "sums", "split_gaps"}


def report_json(found: Content) -> str:
    """Return report.json; the verdict and the decision stand first."""
    shown: dict[str, Json] = {
        "run": found.evidence.run_id,
        "charter": {
            "name": found.charter.name,
            "version": found.charter.charter.version,
            "hash": document.hash_of(found.charter),
        },
        "verdict": found.gate.verdict,
        "state": found.decision.state,
        "decision": found.decision.sentence,
        "still-to-approve": list(found.decision.missing),
        "not-measured": list(found.charter.ethics.left_out),
        "test-mode": found.evidence.test_mode,
    }
    for field in dataclasses.fields(Content):
        if field.name not in _ELSEWHERE:
            shown[terms.kebab(field.name)] = _plain(getattr(found, field.name))
    shown |= {name: _plain(section) for name, section in found.sums.items()}
    return texts.json_text(shown, indent=1) + "\n"


def _plain(value: object) -> Json:
    """Return a part without its drawings: every drawing has a table with the same numbers."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = ((each.name, getattr(value, each.name)) for each in dataclasses.fields(value))
        return {
            terms.kebab(name): _plain(item) for name, item in fields if not isinstance(item, Markup)
        }
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bool | int | str) or value is None:
        return value
    raise TypeError(f"{type(value).__name__} has no place in report.json")
