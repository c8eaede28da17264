"""The gate tells who stood behind the charter before the run, and who did not."""

from __future__ import annotations

import dataclasses

import pytest

from fedethics.charter.ethics_terms import Stakeholder
from fedethics.charter.signing import sign
from fedethics.identity import Identity
from fedethics.privacy.ledger.receipt import sign_receipt
from fedethics.release import gate, receipts
from fedethics.release.publish import publish
from fedethics.release.verification import verify


def _rule(report):
    (found,) = [rule for rule in report.rules if rule.name == "charter signed by all it names"]
    return found


def _with(heart, signatures):
    return dataclasses.replace(heart, charter_signatures=signatures)


def test_a_charter_without_stakeholders_passes_and_says_so_plainly(stage, heart, lay):
    rule = _rule(gate.examine(lay(stage, heart)))
    assert rule.verdict == "pass"
    assert "names no stakeholder" in rule.sentence and "All 5" in rule.sentence


def test_a_charter_that_nobody_signed_says_so(stage, heart, lay):
    rule = _rule(gate.examine(lay(stage, _with(heart, ()))))
    assert rule.verdict == "pass" and "No one signed it" in rule.sentence


def test_simulated_signatures_are_called_that_in_gate_and_report(stage, heart, lay):
    run = lay(stage, _with(heart, stage.signatures(simulated=True)))
    assert "simulated signatures" in _rule(gate.examine(run)).sentence
    publish(run, stage.coordinator)
    for name in ("report.html", "report-privacy.html", "report-regulator.html", "report.json"):
        assert "simulated signatures" in (run / name).read_text()


def test_a_simulated_signature_does_not_pass_as_a_real_one(stage, heart, lay):
    disguised = tuple(
        dataclasses.replace(one, simulated=False) for one in stage.signatures(simulated=True)
    )
    rule = _rule(gate.examine(lay(stage, _with(heart, disguised))))
    assert rule.verdict == "fail" and "not over this charter" in rule.sentence


def test_a_named_stakeholder_who_did_not_sign_fails_the_gate(stage, lay):
    ethicist = Stakeholder(
        role="ethicist", name="E. Okafor", public_key=Identity.generate().public_key
    )
    ethics = dataclasses.replace(stage.charter.ethics, stakeholders=(ethicist,))
    watched = stage.with_charter(ethics=ethics)
    rule = _rule(gate.examine(lay(watched, watched.evidence())))
    assert rule.verdict == "fail" and "ethicist E. Okafor" in rule.sentence


def test_a_signature_over_another_charter_is_void(stage, heart, lay):
    eased = dataclasses.replace(stage.charter.ethics.objectives[0], bar=0.1)
    ethics = dataclasses.replace(
        stage.charter.ethics, objectives=(eased, *stage.charter.ethics.objectives[1:])
    )
    run = lay(stage, _with(heart, stage.with_charter(ethics=ethics).signatures()))
    assert _rule(gate.examine(run)).verdict == "fail"
    publish(run, stage.coordinator)
    assert any(check.problems for check in verify(run) if check.name == "charter signatures hold")


def test_a_signature_made_after_the_run_began_fails(stage, heart, lay):
    late = sign(stage.charter, stage.coordinator, role="coordinator")
    rule = _rule(gate.examine(lay(stage, _with(heart, (*stage.signatures()[:-1], late)))))
    assert rule.verdict == "fail" and "after the run began" in rule.sentence


def test_a_stranger_among_the_signers_fails(stage, heart, lay):
    first, *rest = stage.signatures()
    stranger = dataclasses.replace(first, public_key=Identity.generate().public_key)
    rule = _rule(gate.examine(lay(stage, _with(heart, (stranger, *rest)))))
    assert rule.verdict == "fail" and "no such signer" in rule.sentence


def _began(stage, heart, moments):
    """Evidence in which each site says by its receipt when it was first charged."""
    told = {
        one.public_key: receipts.genuine(one, roster_key=one.public_key) for one in heart.receipts
    }
    signed = []
    for (key, receipt), began in zip(told.items(), moments, strict=True):
        assert receipt is not None
        site = stage.identities[receipt.site]
        assert site.public_key == key
        changed = dataclasses.replace(receipt, began=began)
        signed.append(receipts.from_envelope(sign_receipt(changed, site)))
    return dataclasses.replace(heart, receipts=tuple(signed))


DAY = "2026-01-01T{}+00:00"  # the charter was signed at its midnight


@pytest.mark.parametrize(
    ("started", "began", "outcome"),
    [
        # As the coordinator's clock and the sites' say: signed first, then charged.
        (DAY.format("00:00:00"), DAY.format("00:00:01"), "pass"),
        # The coordinator may write any beginning; the sites' receipts hold it and the signatures.
        ("9999-01-01T00:00:00Z", DAY.format("00:00:01"), "fail"),
        ("9999-01-01T00:00:00Z", "2025-12-31T12:00:00+00:00", "fail"),
        (DAY.format("00:00:00"), "2025-12-31T22:59:59+00:00", "fail"),
        ("2025-12-31T23:59:59Z", DAY.format("00:00:01"), "fail"),
        # Clocks may be an hour apart, and no more.
        (DAY.format("00:00:00"), "2025-12-31T23:00:01+00:00", "pass"),
        (DAY.format("01:00:00"), DAY.format("00:00:01"), "pass"),
        (DAY.format("01:00:02"), DAY.format("00:00:01"), "fail"),
        ("2026-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "fail"),
        ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "fail"),
        # Who does not say it leaves it open.
        (DAY.format("00:00:00"), "", "cannot conclude"),
    ],
)
def test_signed_before_the_run_is_held_to_when_the_sites_were_first_charged(
    stage, heart, lay, started, began, outcome
):
    later = "2026-01-01T06:00:00+00:00"
    found = dataclasses.replace(
        _began(stage, heart, [later, began, later, later]), started=started,
        finished="9999-12-31T00:00:00Z",
    )  # fmt: skip
    rule = _rule(gate.examine(lay(stage, found)))
    assert rule.verdict == outcome, rule.sentence


def test_a_run_that_ended_before_it_began_fails(stage, heart, lay):
    found = dataclasses.replace(heart, finished="2026-01-02T03:04:04Z")
    assert "before it began" in _rule(gate.examine(lay(stage, found))).sentence
