"""Settings chosen by trials that the ledgers do not show cannot pass the gate."""

from __future__ import annotations

import dataclasses

import pytest

from fedethics.charter import document
from fedethics.privacy import search
from fedethics.release import evidence, gate
from fedethics.release.rules.settings import NAME
from tests.release.conftest import SITES, _seen

TRIALS = {1: "1" * 64, 2: "2" * 64}  # heads of the ledgers when the trials' receipts were given
HEADS = tuple(TRIALS.values())


@pytest.fixture(scope="module")
def agreed(stage):
    """The synthetic federation with a search over two learning rates."""
    from fedethics.charter.tuning_terms import Candidate, TuningTerms

    rates = ("training.learning-rate=0.5", "training.learning-rate=2.0")
    tuning = TuningTerms(
        settings_from="tuning",
        candidates=tuple(Candidate(set_=(rate,)) for rate in rates),
        rounds=2,
        share=0.3,
        select="roc_auc_score",
    )
    return stage.with_charter(tuning=tuning)


@pytest.fixture(scope="module")
def trials(agreed):
    """Evidence of both trials, by number: the second has the better model."""
    found = {}
    for number, skill in ((1, 0.3), (2, 4.0)):
        at = dataclasses.replace(agreed, charter=search.phase(agreed.charter, f"trial-{number}"))
        run, one = f"s-trial-{number}", at.evidence(skill=skill, records=20_000)
        given = tuple(
            at.receipt(
                site, run_id=run, ledger_head=TRIALS[number],
                sums=_seen(at.charter, one.rounds, site),
            )
            for site in SITES
        )  # fmt: skip
        found[number] = dataclasses.replace(one, run_id=run, receipts=given)
    return found


@pytest.fixture
def judged(agreed, trials, lay):
    """Judge a final run; what is wrong with it is said by the caller."""

    def judge(*, number=2, shown=(1, 2), unshown_at="", earlier=HEADS, **changed):
        at = dataclasses.replace(agreed, charter=search.phase(agreed.charter, f"final-{number}"))
        given = tuple(
            at.receipt(
                site,
                run_id=f"s-final-{number}",
                earlier=() if site == unshown_at else earlier,
            )
            for site in SITES
        )
        texts = tuple(evidence.encode(changed.get(f"trial_{n}", trials[n])).decode() for n in shown)
        found = dataclasses.replace(
            at.evidence(),
            run_id=f"s-final-{number}",
            trials=texts,
            receipts=given,
            charter_signatures=agreed.signatures(),
        )
        report = gate.examine(lay(at, found))
        return {rule.name: rule for rule in report.rules}

    return judge


def test_a_search_whose_trials_every_ledger_shows_holds(judged):
    rules = judged()
    assert rules[NAME].verdict == "pass", rules[NAME].sentence
    assert "candidate 2 did best" in rules[NAME].sentence
    assert rules["charter signed by all it names"].verdict == "pass"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"unshown_at": "hungary"}, "The ledger of hungary does not show trial 1"),
        ({"earlier": (TRIALS[1],)}, "The ledger of cleveland does not show trial 2"),
        ({"number": 1}, "The settings are candidate 1's, but 2 did best"),
        ({"shown": ()}, "2 candidates, but evidence of 0 trials"),
        ({"shown": (2, 2)}, "Trial 1 was not run under the charter that follows for it"),
    ],
)
def test_a_search_that_is_not_shown_whole_fails(judged, changes, why):
    rule = judged(**changes)[NAME]
    assert rule.verdict == "fail" and why in rule.sentence


def _better(trials, agreed):
    at = dataclasses.replace(agreed, charter=search.phase(agreed.charter, "trial-1"))
    made = at.evidence(skill=9.0, records=20_000)
    return {"counts": made.counts, "histogram": made.histogram}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_better, "Trial 1, figures from the opened sums"),
        (lambda *_: {"rounds": ()}, "Trial 1, sums as the sites were told"),
        (lambda *_: {"test_mode": True}, "Trial 1, noise was real"),
        (lambda *_: {"counts_variance": 1e-9}, "Trial 1, noise as planned"),
        (lambda *_: {"run_id": "other-trial-1"}, "Trial 1 is run other-trial-1"),
    ],
)
def test_a_trial_that_is_not_what_the_sites_signed_fails(judged, trials, agreed, change, why):
    altered = dataclasses.replace(trials[1], **change(trials, agreed))
    rule = judged(trial_1=altered)[NAME]
    assert rule.verdict == "fail" and why in rule.sentence


def test_a_trial_without_a_sites_receipt_fails(judged, trials):
    first = dataclasses.replace(trials[1], receipts=trials[1].receipts[1:])
    rule = judged(trial_1=first)[NAME]
    assert rule.verdict == "fail" and "cleveland signed no receipt of trial 1" in rule.sentence


def test_a_trial_alone_is_never_released(agreed, trials, lay):
    at = dataclasses.replace(agreed, charter=search.phase(agreed.charter, "trial-2"))
    report = gate.examine(lay(at, trials[2]))
    (rule,) = [one for one in report.rules if one.name == NAME]
    assert rule.verdict == "fail" and "Only its final run can be released" in rule.sentence


def test_a_statement_that_no_ledger_can_check_is_no_pass(stage, heart, lay):
    from fedethics.charter.tuning_terms import TuningTerms

    for terms, said in (
        (TuningTerms(settings_from="fixed"), "nobody tried other settings"),
        (TuningTerms(settings_from="public", source="Adult"), "on public records: Adult"),
    ):
        at = stage.with_charter(tuning=terms)
        found = dataclasses.replace(heart, charter_hash=document.hash_of(at.charter))
        (rule,) = [one for one in gate.examine(lay(at, found)).rules if one.name == NAME]
        assert rule.verdict == "not informative" and said in rule.sentence
