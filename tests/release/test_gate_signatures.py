"""The gate tells who stood behind the charter before the run, and who did not."""

from __future__ import annotations

import dataclasses

from fedethics.charter.ethics_terms import Stakeholder
from fedethics.charter.signing import sign
from fedethics.identity import Identity
from fedethics.release import gate
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
    assert rule.verdict == "pass" and "Nobody signed it" in rule.sentence


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
