"""A release on labels that people do not share cannot pass, where the charter sets a bar."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from fedethics.aggregates.aggregate import sum_sha256
from fedethics.aggregates.agreement import AGREEMENT, report
from fedethics.aggregates.agreement.gate import NAME, NAME_BY_GROUP
from fedethics.charter.annotation_terms import AnnotationTerms
from fedethics.privacy.ledger.receipt import SumSeen
from fedethics.privacy.plan import make_plan
from fedethics.release import evidence, folder, gate
from fedethics.release.evidence import Counted, OpenedSum
from fedethics.release.publish import publish
from fedethics.secagg.rules import sites_hash
from tests.release.conftest import RUN, SITES, adapter_sha256, session_of

# What 2,000 records of two annotators each say, in the order (no, no), (no, yes), (yes, yes).
SHARED = (1900, 100, 1900)
CONFUSED = (1200, 800, 1200)


@pytest.fixture(scope="module")
def asking(stage):
    return annotated(stage, bar=0.7)


def annotated(stage, **changes):
    told = {"annotators": ("a", "b"), "labels": ("no", "yes"), "guideline": "Ask twice."}
    return stage.with_charter(annotation=AnnotationTerms(epsilon=1.0, **(told | changes)))


def opened(stage, counts, *, honest=True):
    """Evidence in which this matrix was opened, with the noise of the plan."""
    plan = AGREEMENT.of(make_plan(stage.charter).sums)
    noise = np.random.default_rng(5).normal(0, plan.noise.sum_std, len(counts))
    noised = tuple(int(one) for one in np.array(counts) + np.rint(noise))
    entry = OpenedSum(
        round=1,
        kind="agreement",
        session=session_of("agreement", 1),
        cohort=SITES,
        survivors=SITES,
        sum_sha256=sum_sha256(noised),
    )
    found = stage.evidence()
    told = SumSeen(
        kind="agreement",
        round=1,
        session=entry.session,
        cohort=sites_hash(SITES),
        survivors=sites_hash(SITES),
        sha256=entry.sum_sha256,
        slices="passed",
        adapter=adapter_sha256(stage.charter),
    )
    receipts = tuple(stage.receipt(site, sums=(told, *_sums(found, site, stage))) for site in SITES)
    shown = noised if honest else (noised[0] + noised[1], 0, *noised[2:])
    return dataclasses.replace(
        found,
        rounds=(entry, *found.rounds),
        receipts=receipts,
        counted=(Counted(kind="agreement", round=1, counts=shown),),
    )


def _sums(found, site, stage):
    return tuple(
        SumSeen(
            kind=entry.kind,
            round=entry.round,
            session=entry.session,
            cohort=sites_hash(entry.cohort),
            survivors=sites_hash(entry.survivors),
            sha256=entry.sum_sha256,
            slices="passed",
            adapter=None if entry.kind == "update" else adapter_sha256(stage.charter),
        )
        for entry in found.rounds
        if site in entry.survivors
    )


def rules(run):
    return {rule.name: rule for rule in gate.examine(run).rules}


def test_labels_that_people_share_pass_and_the_interval_is_shown(asking, lay):
    run = lay(asking, opened(asking, SHARED))
    found = rules(run)
    rule = found[NAME]
    assert rule.verdict == "pass" and rule.topic == "people"
    # 1 - (n - 1) 2 * 100 / (n^2 - n_no^2 - n_yes^2), as Krippendorff writes it.
    assert rule.figure.value == pytest.approx(0.9, abs=0.03)
    assert 0.7 <= rule.figure.low < rule.figure.value < rule.figure.high
    assert (rule.figure.bar, rule.figure.direction) == (0.7, "at-least")
    others = [one for one in found.values() if one.topic != "people"]
    assert {one.name for one in others if one.verdict == "fail"} == set()


def test_labels_that_people_do_not_share_fail_the_gate_whatever_the_model_does(asking, lay):
    run = lay(asking, opened(asking, CONFUSED))
    rule = rules(run)[NAME]
    assert rule.verdict == "fail" and "annotators do not agree on these labels" in rule.sentence
    assert rule.figure.high < 0.7 and gate.examine(run).verdict == "fail"


def test_a_bar_within_the_interval_leaves_it_undecided(stage, lay):
    close = annotated(stage, bar=0.9)
    rule = rules(lay(close, opened(close, SHARED)))[NAME]
    assert rule.verdict == "cannot conclude" and "which the interval contains" in rule.sentence


def test_without_a_bar_agreement_is_shown_and_is_no_pass(stage, lay):
    barless = annotated(stage)
    rule = rules(lay(barless, opened(barless, CONFUSED)))[NAME]
    assert rule.verdict == "not informative" and rule.figure.bar is None
    assert "sets no bar" in rule.sentence


def test_few_records_under_noise_leave_no_estimate(asking, lay):
    rule = rules(lay(asking, opened(asking, (4, 0, 4))))[NAME]
    assert rule.verdict == "cannot conclude" and rule.figure.value is None
    assert "no estimate" in rule.sentence


def test_a_matrix_other_than_the_opened_sum_is_found_out(asking, lay):
    found = rules(lay(asking, opened(asking, CONFUSED, honest=False)))
    assert found[NAME].verdict == "pass"  # it is believed nowhere, for:
    told = found["figures from the opened sums"]
    assert told.verdict == "fail" and "agreement counts of round 1 are not" in told.sentence


def test_a_matrix_that_is_asked_for_and_missing_or_of_another_size_leaves_the_gate_undecided(
    asking, lay
):
    whole = opened(asking, SHARED)
    for counted in (None, (Counted(kind="agreement", round=1, counts=(5, 5)),)):
        rule = rules(lay(asking, dataclasses.replace(whole, counted=counted)))[NAME]
        assert rule.verdict == "cannot conclude" and "no such sum is on record" in rule.sentence


def test_a_charter_without_annotation_has_no_such_rule_and_no_section(stage, lay):
    run = lay(stage, stage.evidence())
    assert NAME not in rules(run)
    publish(run, stage.coordinator)
    assert "Agreement of annotators" not in (run / folder.REPORT).read_text()
    assert b"counted" not in (run / folder.EVIDENCE).read_bytes()


def test_labels_that_nobody_agreed_to_count_fail(stage, lay):
    whole = opened(annotated(stage), SHARED)
    stray = dataclasses.replace(stage.evidence(), rounds=whole.rounds)
    rule = rules(lay(stage, stray))[NAME]
    assert rule.verdict == "fail" and "does not ask for" in rule.sentence


def test_every_page_and_the_data_card_show_it_with_the_guideline(asking, lay):
    run = lay(asking, opened(asking, SHARED))
    publish(run, asking.coordinator)
    for page in (folder.REPORT, folder.REPORT_PRIVACY, folder.REPORT_REGULATOR):
        text = (run / page).read_text()
        assert "Agreement of annotators" in text and "Ask twice." in text
    assert "coincidences of annotators" in (run / folder.REPORT_PRIVACY).read_text()
    card = (run / folder.DATA_CARD).read_text()
    assert "Krippendorff" in card and "Ask twice" in card
    assert "how well labellers agree" not in card
    shown = json.loads((run / folder.REPORT_JSON).read_text())["agreement"]
    assert shown["tables"]["Agreement over all sites"]["rows"][0][0] == "Krippendorff's alpha"
    again = evidence.load(run / folder.EVIDENCE)
    assert again.run_id == RUN and again.counted[0].kind == "agreement"


def test_labels_that_people_share_of_one_group_only_fail_the_bar_of_groups(stage, lay):
    asking = annotated(stage, bar=0.5, by="sex", group_bar=0.7)
    found = rules(lay(asking, opened(asking, (300, 250, 300, 3000, 50, 3000))))
    rule = found[NAME_BY_GROUP]
    assert found[NAME].verdict == "pass" and rule.verdict == "fail" and rule.topic == "people"
    assert "sex=Female: " in rule.sentence and "sex=Male: " not in rule.sentence
    assert rule.figure.high < 0.7 == rule.figure.bar
    both = rules(lay(asking, opened(asking, (*SHARED, *SHARED))))
    assert both[NAME_BY_GROUP].verdict == "pass"
    close = rules(lay(asking, opened(asking, (190, 32, 190, *SHARED))))
    assert close[NAME_BY_GROUP].verdict == "cannot conclude"


def test_every_groups_alpha_is_in_the_report(stage, lay):
    asking = annotated(stage, by="sex")
    run = lay(asking, opened(asking, (*SHARED, *CONFUSED)))
    assert NAME_BY_GROUP not in rules(run)
    section = report.build(folder.load(run), gate.examine(run))
    rows = section.tables["Agreement by sex"].rows
    assert [row[0] for row in rows] == ["Female", "Male"]
    assert float(rows[0][1]) > 0.8 > 0.4 > float(rows[1][1])
