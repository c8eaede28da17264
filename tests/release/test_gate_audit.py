"""An attack on the adapter refutes a promise, or does not; it never proves one."""

from __future__ import annotations

import dataclasses
import json

import pytest

from fedethics.aggregates.aggregate import sum_sha256
from fedethics.charter.privacy_terms import AuditTerms
from fedethics.privacy.ledger.receipt import SumSeen
from fedethics.release import content, decision, folder, gate
from fedethics.release.evidence import OpenedSum
from fedethics.release.publish import publish
from fedethics.release.rules.audit import NAME
from fedethics.release.verification import verify
from fedethics.secagg.rules import sites_hash
from tests.release.conftest import session_of


def _rule(run):
    (found,) = [rule for rule in gate.examine(run).rules if rule.name == NAME]
    return found


def _asking(stage, **terms):
    privacy = stage.charter.privacy
    return stage.with_charter(
        privacy=dataclasses.replace(privacy, audit=AuditTerms(**{"attack": "loss", **terms}))
    )


@pytest.fixture(scope="module")
def audited(stage):
    return _asking(stage, epsilon=1.0)


@pytest.fixture(scope="module")
def unaudited(stage):
    return _asking(stage, attack="none")


def test_a_charter_without_an_audit_passes_and_is_called_unaudited(unaudited, lay):
    run = lay(unaudited, unaudited.evidence())
    rule = _rule(run)
    assert rule.verdict == "pass" and rule.sentence.startswith("Not audited")
    assert "not run" in " ".join(gate.examine(run).not_covered)
    publish(run, unaudited.coordinator)
    for page in (folder.REPORT, folder.REPORT_PRIVACY, folder.REPORT_REGULATOR):
        assert "Not audited: the charter asks for no membership audit" in (run / page).read_text()
    card = (run / "withheld" / folder.CARD).read_text()
    assert "Attack on the adapter: Not audited" in card
    shown = json.loads((run / folder.REPORT_JSON).read_text())["audited"]
    assert shown["words"].startswith("Not audited") and shown["figures"] is None


def test_an_attack_that_finds_nothing_passes_as_no_contradiction_and_no_proof(audited, lay):
    run = lay(audited, audited.evidence(records=6000))
    rule = _rule(run)
    assert rule.verdict == "pass"
    assert rule.sentence.startswith("No contradiction found, which is no proof of privacy")
    assert "an attack without any mistake could have shown" in rule.sentence
    assert rule.figure.value == 0.0 and rule.figure.bar == 3.0


def test_an_adapter_that_knows_its_records_by_heart_fails_the_gate(audited, lay):
    run = lay(audited, audited.evidence(records=6000, memory=12.0))
    rule = _rule(run)
    assert rule.verdict == "fail" and "Do not release" in rule.sentence
    assert rule.figure.value > rule.figure.bar
    assert gate.examine(run).verdict == "fail"


def test_the_pages_show_both_histograms_and_the_curve_under_the_promise(audited, lay):
    run = lay(audited, audited.evidence(memory=0.5))
    publish(run, audited.coordinator)
    opened = folder.load(run)
    report = gate.examine(run)
    found = content.build(opened, report, decision.decide(opened.charter, report.verdict, ()))
    assert len(found.audited.losses.table.rows) == 10
    assert "audit-losses" in found.audited.losses.drawing
    assert "epsilon 3, delta 0.0001" in found.audited.curve.drawing
    page = (run / folder.REPORT_PRIVACY).read_text()
    assert "Attack on the adapter" in page and "audit-curve" in page
    shown = json.loads((run / folder.REPORT_JSON).read_text())["audited"]
    assert shown["curve"]["table"]["rows"]
    checks = {check.name: check for check in verify(run)}
    assert not checks["verdict follows from the evidence"].problems


def test_histograms_other_than_the_opened_sum_fail(audited, lay):
    honest = audited.evidence(memory=0.5)
    prettier = dataclasses.replace(honest, audit=tuple(sorted(honest.audit)))
    rule = _rule(lay(audited, prettier))
    assert rule.verdict == "fail" and "not the sum that was opened" in rule.sentence


def test_an_audit_that_is_asked_for_and_missing_leaves_the_gate_undecided(audited, lay):
    honest = audited.evidence()
    kept = tuple(entry for entry in honest.rounds if entry.kind != "audit")
    rule = _rule(lay(audited, dataclasses.replace(honest, audit=(), rounds=kept)))
    assert rule.verdict == "cannot conclude" and "no such sum is on record" in rule.sentence


def test_an_audit_of_another_adapter_fails(audited, lay):
    honest = audited.evidence()
    (sum_,) = (entry for entry in honest.rounds if entry.kind == "audit")
    other = SumSeen(
        kind="audit",
        round=5,
        session=sum_.session,
        cohort=sites_hash(sum_.cohort),
        survivors=sites_hash(sum_.survivors),
        sha256=sum_sha256(honest.audit),
        slices="passed",
        adapter="cd" * 32,
    )
    receipts = (audited.receipt("cleveland", sums=(other,)), *honest.receipts[1:])
    rule = _rule(lay(audited, dataclasses.replace(honest, receipts=receipts)))
    assert rule.verdict == "fail" and "of cleveland are of another adapter" in rule.sentence


def test_an_audit_that_nobody_agreed_to_fails(unaudited, lay):
    honest = unaudited.evidence()
    last = honest.rounds[-1]
    stray = OpenedSum(
        round=last.round,
        kind="audit",
        session=session_of("audit", last.round),
        cohort=last.cohort,
        survivors=last.survivors,
        sum_sha256="ab" * 32,
    )
    rule = _rule(lay(unaudited, dataclasses.replace(honest, rounds=(*honest.rounds, stray))))
    assert rule.verdict == "fail"
