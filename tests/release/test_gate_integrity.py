"""The gate finds another charter, model, self-test or cohort than the agreed one."""

from __future__ import annotations

import dataclasses
import hashlib
from json import loads as read

import numpy as np

from fedethics.aggregates.aggregate import sum_sha256
from fedethics.release import gate, receipts
from fedethics.release.evidence import OpenedSum

OBJECTIVES = 4


def _rule(report, name):
    (found,) = [rule for rule in report.rules if rule.name == name]
    return found


def _with_sum(heart, index, **changes):
    sums = list(heart.rounds)
    sums[index] = dataclasses.replace(sums[index], **changes)
    return dataclasses.replace(heart, rounds=tuple(sums))


def test_another_charter_than_the_one_followed_fails(stage, heart, lay):
    eased = tuple(
        dataclasses.replace(each, bar=0.9) if each.direction == "at-most" else each
        for each in stage.charter.ethics.objectives
    )
    ethics = dataclasses.replace(stage.charter.ethics, objectives=eased)
    report = gate.examine(lay(stage.with_charter(ethics=ethics), heart))
    assert _rule(report, "the agreed charter and schema").verdict == "fail"


def test_another_schema_fails(stage, heart, lay):
    report = gate.examine(lay(stage, dataclasses.replace(heart, schema_hash="22" * 32)))
    assert _rule(report, "the agreed charter and schema").verdict == "fail"


def test_another_adapter_fails(stage, heart, lay):
    run = lay(stage, heart)
    adapter = run / "withheld/adapter/adapter_model.safetensors"
    adapter.write_bytes(adapter.read_bytes()[:-1] + b"\x01")
    assert _rule(gate.examine(run), "the adapter that was evaluated").verdict == "fail"


def test_a_missing_adapter_fails(stage, heart, lay):
    run = lay(stage, heart)
    (run / "withheld/adapter/adapter_model.safetensors").unlink()
    assert _rule(gate.examine(run), "the adapter that was evaluated").verdict == "fail"


def test_another_base_model_fails(stage, heart, lay):
    report = gate.examine(lay(stage, dataclasses.replace(heart, base_model_sha256="33" * 32)))
    assert _rule(report, "the agreed base model").verdict == "fail"


def test_a_self_test_that_a_site_says_has_failed_fails(stage, heart, lay):
    failed = stage.receipt("va-long-beach", self_test_passed=False)
    report = gate.examine(
        lay(stage, dataclasses.replace(heart, receipts=(*heart.receipts[:3], failed)))
    )
    rule = _rule(report, "self-tests at every site")
    assert rule.verdict == "fail" and "va-long-beach" in rule.sentence


def test_a_missing_self_test_cannot_conclude(stage, heart, lay):
    found = dataclasses.replace(heart, receipts=heart.receipts[1:])
    rule = _rule(gate.examine(lay(stage, found)), "self-tests at every site")
    assert rule.verdict == "cannot conclude" and "cleveland" in rule.sentence


def test_a_sum_over_two_sites_fails(stage, heart, lay):
    found = _with_sum(heart, 0, survivors=("hungary", "cleveland"))
    rule = _rule(gate.examine(lay(stage, found)), "sums over enough sites")
    assert rule.verdict == "fail" and rule.figure.value == 2


def test_a_count_sum_without_the_whole_cohort_fails(stage, heart, lay):
    last = len(heart.rounds) - 1
    found = _with_sum(heart, last, survivors=heart.rounds[last].survivors[:3])
    rule = _rule(gate.examine(lay(stage, found)), "sums over enough sites")
    assert "without the whole cohort" in rule.sentence


def test_count_sums_over_different_cohorts_fail(stage, heart, lay):
    # Both are whole cohorts, but their difference is one site's own table.
    smaller = heart.rounds[1].cohort[:3]
    assert heart.rounds[1].kind == "progress"
    found = _with_sum(heart, 1, cohort=smaller, survivors=smaller)
    rule = _rule(gate.examine(lay(stage, found)), "sums over enough sites")
    assert rule.verdict == "fail" and "different sets of sites" in rule.sentence


def test_a_site_that_vanishes_without_a_dropout_fails(stage, heart, lay):
    found = _with_sum(heart, 0, survivors=heart.rounds[0].cohort[:3], dropped=())
    rule = _rule(gate.examine(lay(stage, found)), "sums over enough sites")
    assert "does not account for every site" in rule.sentence


def test_a_site_outside_the_roster_fails(stage, heart, lay):
    cohort = (*heart.rounds[0].cohort, "ghost")
    found = _with_sum(heart, 0, cohort=cohort, survivors=cohort)
    rule = _rule(gate.examine(lay(stage, found)), "sums over enough sites")
    assert "not on the roster" in rule.sentence


def test_no_opened_sums_cannot_conclude(stage, heart, lay):
    report = gate.examine(lay(stage, dataclasses.replace(heart, rounds=(), progress=())))
    assert _rule(report, "sums over enough sites").verdict == "cannot conclude"


def test_tables_that_are_not_the_opened_sum_fail(stage, heart, lay):
    counts = (heart.counts[0] + 1, *heart.counts[1:])
    report = gate.examine(lay(stage, dataclasses.replace(heart, counts=counts)))
    assert _rule(report, "figures from the opened sums").verdict == "fail"


def test_fairness_tables_opened_twice_fail(stage, heart, lay):
    again = OpenedSum(**{name: getattr(heart.rounds[-1], name) for name in OpenedSum.__slots__})
    found = dataclasses.replace(heart, rounds=(*heart.rounds, again))
    report = gate.examine(lay(stage, found))
    assert "more than once" in _rule(report, "figures from the opened sums").sentence


def test_a_sum_is_hashed_as_numpy_lays_out_int64():
    opened = [-3, 0, 7, 2**40]
    expected = hashlib.sha256(np.array(opened, "<i8").tobytes()).hexdigest()
    assert sum_sha256(opened) == expected


def _told(stage, heart, site, **said):
    """The evidence, with what one site's receipt says of every sum replaced."""
    (receipt,) = (
        found for signed in heart.receipts if (found := _receipt(stage, signed)).site == site
    )
    sums = tuple(dataclasses.replace(told, **said) for told in receipt.sums)
    others = tuple(signed for signed in heart.receipts if read(signed.body)["site"] != site)
    return dataclasses.replace(heart, receipts=(*others, stage.receipt(site, sums=sums)))


def _receipt(stage, signed):
    roster = {member.site: member.public_key for member in stage.charter.roster}
    return receipts.genuine(signed, roster_key=roster[read(signed.body)["site"]])


def test_group_tables_of_another_adapter_fail(stage, heart, lay):
    report = gate.examine(lay(stage, _told(stage, heart, "cleveland", adapter="ab" * 32)))
    found = _rule(report, "the adapter that was evaluated")
    assert found.verdict == "fail"
    assert "tables of cleveland are of another adapter" in found.sentence


def test_a_site_cannot_be_struck_from_the_evidence_to_hide_what_it_counted(stage, heart, lay):
    found = _told(stage, heart, "cleveland", adapter="ab" * 32)
    rounds = tuple(
        entry
        if entry.kind == "update"
        else dataclasses.replace(
            entry,
            cohort=tuple(site for site in entry.cohort if site != "cleveland"),
            survivors=tuple(site for site in entry.survivors if site != "cleveland"),
        )
        for entry in found.rounds
    )
    report = gate.examine(lay(stage, dataclasses.replace(found, rounds=rounds)))
    assert _rule(report, "the adapter that was evaluated").verdict == "fail"
    assert "without the whole cohort" in _rule(report, "sums over enough sites").sentence


def test_a_site_that_does_not_say_which_adapter_it_counted_leaves_it_open(stage, heart, lay):
    report = gate.examine(lay(stage, _told(stage, heart, "cleveland", adapter=None)))
    found = _rule(report, "the adapter that was evaluated")
    assert found.verdict == "cannot conclude"
    assert "cleveland" in found.sentence


def test_sums_that_every_site_recomputed_pass(stage, heart, lay):
    report = gate.examine(lay(stage, heart))
    assert _rule(report, "sums that the sites recomputed").verdict == "pass"


def test_a_sum_that_one_site_found_false_fails(stage, heart, lay):
    report = gate.examine(lay(stage, _told(stage, heart, "cleveland", slices="failed")))
    found = _rule(report, "sums that the sites recomputed")
    assert found.verdict == "fail"
    assert "false, by the check of cleveland" in found.sentence


def test_a_sum_that_one_site_did_not_check_cannot_conclude(stage, heart, lay):
    report = gate.examine(lay(stage, _told(stage, heart, "cleveland", slices="unchecked")))
    found = _rule(report, "sums that the sites recomputed")
    assert found.verdict == "cannot conclude"
    assert "cleveland did not check the update sum of round 1" in found.sentence


def test_a_charter_that_asks_for_no_checks_is_not_held_to_them(stage, heart, lay):
    terms = dataclasses.replace(stage.charter.secagg, verify_slices=False)
    report = gate.examine(lay(stage.with_charter(secagg=terms), heart))
    assert "sums that the sites recomputed" not in {rule.name for rule in report.rules}
