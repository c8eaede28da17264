"""The gate: may this release leave? Recomputed from charter and evidence, never from its own file.

Guarantee: `examine` is a pure function of charter.json, evidence.json, the adapter's two files and,
where the charter names benchmarks, benchmarks.jsonl, so anyone with the run directory gets the same
verdict, offline. Nothing undecided passes. Another version of this package may choose other words
for the same findings (`findings`); which one chose them is on record.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from fedethics import canonical, terms
from fedethics.aggregates.at_gate import EXAMINED
from fedethics.errors import EXIT_CANNOT_CONCLUDE, EXIT_GATE_FAILED, EXIT_OK, ReleaseError
from fedethics.release import durable, folder
from fedethics.release.folder import GATE, Folder
from fedethics.release.pages import renderer_sha256
from fedethics.release.rules import (
    audit,
    benchmarks,
    integrity,
    objectives,
    privacy,
    settings,
    signatures,
)
from fedethics.release.rules.bars import Bar, together
from fedethics.release.rules.rule import Outcome, Rule, overall
from fedethics.terms import KEY, term

EXIT_CODES: dict[Outcome, int] = {
    "pass": EXIT_OK,
    "fail": EXIT_GATE_FAILED,
    "cannot conclude": EXIT_CANNOT_CONCLUDE,
    # Of a single rule only; see `overall`.
    "not informative": EXIT_CANNOT_CONCLUDE,
}
# How opened tables are read. 2: blocks of the same people are reconciled, and "fail" is Holm's over
# the objectives. 3: over all bars of the charter; where only objectives have bars, that is 2.
# Whatever changes a figure or a verdict on the same evidence raises it.
OBJECTIVES_ALONE, ALL_BARS = 2, 3
NOT_COVERED = (
    "whether the model should be used at all: a passing gate is not that decision; people take "
    "it, and their approval is recorded apart",
    "that the adapter follows from the opened sums of updates: no rule computes the server's steps "
    "again",
    "what only the coordinator says: which code, packages and seeds it ran, when the run ended, "
    "and why a site dropped out; no verdict rests on them. When the run began is held to the "
    "sites' receipts, within an hour",
    "that each site's records are what its signed receipt says: only the site can see them",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class GateReport:
    """The verdict on one run, rule by rule.

    Attributes:
        evidence_sha256: of evidence.json as examined.
        method: of reading the opened tables, see `ALL_BARS`; absent for the first.
        not_covered: what no rule of this gate looks at, by the rules that ran and what they found.
        wording: hash of the code that chose the words (`renderer_sha256`); absent in releases of
            earlier versions.
    """

    run_id: str = term(nonempty=True)
    charter_hash: str = term(pattern=KEY)
    evidence_sha256: str = term(pattern=KEY)
    verdict: Outcome = term()
    rules: tuple[Rule, ...] = term(nonempty=True)
    not_covered: tuple[str, ...] = term(prose=True)
    method: int | None = term(default=None, at_least=2)
    wording: str | None = term(default=None, pattern=KEY)

    @property
    def exit_code(self) -> int:
        """Of the verdict alone: 0 pass, 3 fail, 4 cannot conclude (with approvals: `decision`)."""
        return EXIT_CODES[self.verdict]


def examine(run_dir: Path) -> GateReport:
    """Judge a run directory.

    Raises:
        ReleaseError: charter.json or evidence.json is missing or malformed.
        CharterError: charter.json is not a charter with a roster.
    """
    return judge(folder.load(run_dir))


def judge(opened: Folder) -> GateReport:
    """Judge an opened run directory."""
    of_objectives = objectives.examine(opened)
    answers: tuple[Rule | Bar, ...] = (
        *of_objectives,
        *objectives.groups(opened),
        *benchmarks.examine(opened),
        *privacy.examine(opened),
        *settings.examine(opened),
        *(rule for judge_sum in EXAMINED.values() for rule in judge_sum(opened)),
        *signatures.examine(opened),
        *integrity.examine(opened),
    )
    rules = together(answers)
    bars = sum(isinstance(answer, Bar) for answer in answers)
    return GateReport(
        run_id=opened.evidence.run_id,
        charter_hash=opened.charter_sha256,
        evidence_sha256=opened.evidence_sha256,
        verdict=overall(rules),
        rules=rules,
        not_covered=(
            NOT_COVERED[0],
            audit.not_covered(opened),
            *integrity.not_covered(rules),
            *NOT_COVERED[1:],
        ),
        method=OBJECTIVES_ALONE if bars == len(of_objectives) else ALL_BARS,
        wording=renderer_sha256(),
    )


def encode(report: GateReport) -> bytes:
    """Return the canonical bytes of gate.json."""
    return canonical.encode(terms.document(report))


def findings(report: GateReport) -> bytes:
    """Return all that was found, without the words for it: what other wording must leave equal.

    These are run, charter, evidence and method, the verdict, of each rule its name, topic, verdict,
    figure and file, and how many things no rule looks at.
    """
    silent = tuple(dataclasses.replace(rule, sentence="") for rule in report.rules)
    uncovered = ("",) * len(report.not_covered)
    return encode(dataclasses.replace(report, rules=silent, not_covered=uncovered, wording=None))


def write(report: GateReport, run_dir: Path) -> None:
    """Write gate.json durably."""
    durable.write(run_dir / GATE, encode(report))


def recorded(run_dir: Path) -> GateReport:
    """Return what gate.json says, which is a claim; `examine` is the judgement.

    Raises:
        ReleaseError: missing, not canonical, or malformed.
    """
    path = run_dir / GATE
    return terms.parse(GateReport, durable.read(path), what=str(path), error=ReleaseError)
