"""report.html: one self-contained page. Harm first, then the gate, then all that it rests on.

Guarantee: the page loads nothing and runs nothing; every number in it is recomputed from the
charter, the evidence and the comparisons of the run directory; equal directories give equal bytes.
"""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from fedethics.release import comparisons, durable, folder, gate
from fedethics.release.folder import COMPARISONS, REPORT, Folder
from fedethics.release.gate import GateReport
from fedethics.release.pages import render, stylesheet
from fedethics.release.rules.rule import Rule
from fedethics.release.sections import compared, groups, people, provenance, rounds, spending

TOPICS = {
    "people": "For the people affected",
    "privacy": "For the people in the data",
    "integrity": "For those who check",
}


def write_report(run_dir: Path) -> Path:
    """Render report.html from a run directory and write it durably.

    Raises:
        ReleaseError: a file of the run directory is missing or malformed.
    """
    opened = folder.load(run_dir)
    page = page_of(opened, gate.judge(opened))
    durable.write(run_dir / REPORT, page.encode("utf-8"))
    return run_dir / REPORT


def page_of(opened: Folder, verdict: GateReport) -> str:
    """Return the page."""
    found = comparisons.load(opened.path / COMPARISONS)
    return render(
        "report.html.j2",
        {
            # Safe: the package's own stylesheet.
            "css": Markup(stylesheet()),  # noqa: S704
            "charter": opened.charter,
            "evidence": opened.evidence,
            "gate": verdict,
            "topics": TOPICS,
            "why": {rule.name: why for rule, why in _reasons(opened, verdict)},
            "people": people.build(opened, verdict),
            "objectives": groups.objectives(verdict),
            "rates": groups.rates(opened),
            "gaps": groups.gaps(opened),
            "rocs": groups.roc_curves(opened),
            "spending": spending.over_time(opened),
            "receipts": spending.receipts(opened),
            "mechanisms": spending.facts(opened),
            "progress": rounds.metrics(opened),
            "cohorts": rounds.cohorts(opened),
            "compared": compared.build(found) if found else None,
            "notes": found.notes if found else (),
            "hashes": provenance.hashes(opened),
            "versions": provenance.versions(opened),
            "facts": provenance.facts(opened),
        },
    )


def _reasons(opened: Folder, verdict: GateReport) -> list[tuple[Rule, str]]:
    stated = opened.charter.ethics.objectives
    # The gate answers the objectives first, in the charter's order.
    return [(rule, objective.why) for rule, objective in zip(verdict.rules, stated, strict=False)]
