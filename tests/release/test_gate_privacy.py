"""No site's data may have paid more than agreed, on any word but the site's own."""

from __future__ import annotations

import dataclasses

import pytest

from fedethics.identity import Identity
from fedethics.privacy.ledger.receipt import sign_receipt
from fedethics.release import gate, receipts


def _rule(report, name):
    (found,) = [rule for rule in report.rules if rule.name == name]
    return found


# A receipt made anew for a test names no sums.
NO_SUMS = (
    "sums as the sites were told",
    "sums that the sites recomputed",
    "the adapter that was evaluated",
    "empirical privacy audit",
)


def _others_pass(report, *names):
    return all(
        rule.verdict == "pass"
        for rule in report.rules
        if rule.topic != "people" and rule.name not in names
    )


def _body(signed, stage, site):
    receipt = receipts.genuine(signed, roster_key=stage.identities[site].public_key)
    assert receipt is not None
    return receipt


def test_a_missing_receipt_leaves_the_budget_unknown(stage, heart, lay):
    found = dataclasses.replace(heart, receipts=heart.receipts[1:])
    report = gate.examine(lay(stage, found))
    assert _rule(report, "receipts of every site").verdict == "cannot conclude"
    assert "cleveland" in _rule(report, "epsilon of training").sentence
    assert report.verdict == "cannot conclude"


def test_a_receipt_signed_by_another_key_fails(stage, heart, lay):
    forged = receipts.from_envelope(
        sign_receipt(_body(heart.receipts[0], stage, "cleveland"), Identity.generate())
    )
    report = gate.examine(
        lay(stage, dataclasses.replace(heart, receipts=(forged, *heart.receipts[1:])))
    )
    assert _rule(report, "receipts of every site").verdict == "fail"
    # What a forger says it spent is not believed either.
    assert _rule(report, "epsilon of training").verdict == "cannot conclude"


def test_a_receipt_with_one_changed_digit_fails(stage, heart, lay):
    true = heart.receipts[0]
    changed = dataclasses.replace(true, body=true.body.replace('"delta":0.0001', '"delta":0.0002'))
    assert changed != true
    report = gate.examine(
        lay(stage, dataclasses.replace(heart, receipts=(changed, *heart.receipts[1:])))
    )
    rule = _rule(report, "receipts of every site")
    assert rule.verdict == "fail" and "cleveland" in rule.sentence


def test_one_site_cannot_speak_for_another(stage, heart, lay):
    body = _body(heart.receipts[1], stage, "hungary")
    swapped = receipts.from_envelope(
        sign_receipt(dataclasses.replace(body, site="cleveland"), stage.identities["hungary"])
    )
    report = gate.examine(
        lay(stage, dataclasses.replace(heart, receipts=(heart.receipts[0], swapped)))
    )
    assert _rule(report, "receipts of every site").verdict == "fail"


@pytest.mark.parametrize(
    "changes", [{"run_id": "another-run"}, {"charter_hash": "11" * 32}], ids=["run", "charter"]
)
def test_a_receipt_for_another_run_or_charter_fails(stage, heart, lay, changes):
    stray = stage.receipt("cleveland", **changes)
    report = gate.examine(
        lay(stage, dataclasses.replace(heart, receipts=(stray, *heart.receipts[1:])))
    )
    assert _rule(report, "receipts of every site").verdict == "fail"


def test_two_receipts_of_one_site_fail(stage, heart, lay):
    second = stage.receipt("cleveland", training_epsilon=0.1)
    report = gate.examine(
        lay(stage, dataclasses.replace(heart, receipts=(*heart.receipts, second)))
    )
    assert "more than one receipt" in _rule(report, "receipts of every site").sentence


def test_a_redone_round_that_exceeds_epsilon_fails_and_is_named(stage, heart, lay):
    redone = stage.redone_receipt("hungary", 2)
    found = (heart.receipts[0], redone, *heart.receipts[2:])
    report = gate.examine(lay(stage, dataclasses.replace(heart, receipts=found)))
    rule = _rule(report, "epsilon of training")
    assert rule.verdict == "fail"
    assert "hungary" in rule.sentence and "round 2" in rule.sentence
    assert rule.figure.value > 3.0
    assert _others_pass(report, "epsilon of training", *NO_SUMS)


def test_evaluation_above_its_epsilon_fails(stage, heart, lay):
    over = stage.receipt("hungary", evaluation_epsilon=3.2)
    found = (heart.receipts[0], over, *heart.receipts[2:])
    report = gate.examine(lay(stage, dataclasses.replace(heart, receipts=found)))
    assert _rule(report, "epsilon of evaluation").verdict == "fail"
    assert _others_pass(report, "epsilon of evaluation", *NO_SUMS)


@pytest.mark.parametrize(
    "changes",
    [{"unit": "person"}, {"neighbouring": "replace-one"}, {"delta": 1e-3}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_receipt_on_other_terms_fails(stage, heart, lay, changes):
    other = stage.receipt("cleveland", **changes)
    found = (other, *heart.receipts[1:])
    report = gate.examine(lay(stage, dataclasses.replace(heart, receipts=found)))
    assert _rule(report, "terms of the guarantee").verdict == "fail"


def test_a_test_run_with_fixed_noise_fails(stage, heart, lay):
    report = gate.examine(lay(stage, dataclasses.replace(heart, test_mode=True)))
    assert _rule(report, "noise was real").verdict == "fail"


def test_a_site_that_admits_fixed_noise_fails_a_run_that_does_not(stage, heart, lay):
    found = (stage.receipt("cleveland", fixed_noise=True), *heart.receipts[1:])
    report = gate.examine(lay(stage, dataclasses.replace(heart, receipts=found)))
    rule = _rule(report, "noise was real")
    assert rule.verdict == "fail" and "cleveland" in rule.sentence


def test_a_run_without_differential_privacy_fails(stage, lay):
    training = dataclasses.replace(stage.charter.privacy.training, mechanism="none")
    privacy = dataclasses.replace(stage.charter.privacy, training=training)
    staged = stage.with_charter(privacy=privacy)
    report = gate.examine(lay(staged, staged.evidence()))
    assert _rule(report, "noise was real").verdict == "fail"
    assert _rule(report, "epsilon of training").verdict == "fail"


def test_a_coordinator_that_understates_the_noise_is_found_out(stage, heart, lay):
    report = gate.examine(lay(stage, dataclasses.replace(heart, counts_variance=0.5)))
    rule = _rule(report, "noise as planned")
    assert rule.verdict == "fail" and "counts variance" in rule.sentence


def test_a_coordinator_that_overstates_the_noise_multiplier_is_found_out(stage, heart, lay):
    plan = dataclasses.replace(heart.plan, noise_multiplier=50.0)
    report = gate.examine(lay(stage, dataclasses.replace(heart, plan=plan)))
    assert _rule(report, "noise as planned").verdict == "fail"
