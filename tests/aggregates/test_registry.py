"""A kind of sum is one object: ledger, permit, plan, site and gate know it by that alone."""

from __future__ import annotations

import dataclasses

import pytest

from fedethics import charter_sums
from fedethics.aggregates.aggregate import Moment
from fedethics.aggregates.agreement import AGREEMENT
from fedethics.aggregates.at_coordinator import COMMITTED, SENT_ALONG
from fedethics.aggregates.at_site import COMPUTED
from fedethics.aggregates.census import CENSUS
from fedethics.aggregates.measures import MEASURES
from fedethics.aggregates.monitoring import MONITORING
from fedethics.aggregates.noise import Account
from fedethics.aggregates.norms import NORMS
from fedethics.aggregates.paired import PAIRED
from fedethics.aggregates.registry import AGGREGATES, aggregate, charged_to
from fedethics.aggregates.schedule import sum_specs, sums_of
from fedethics.charter.document import load
from fedethics.errors import AccountingError, SecaggReject
from fedethics.policy.model import Allowed
from fedethics.privacy.plan import make_plan
from fedethics.protocol import Action
from tests.privacy.charters import HEART, UNAUDITED, with_terms


@pytest.fixture(scope="module")
def heart():
    return load(HEART)


def test_every_kind_has_its_part_at_the_site_and_at_the_coordinator():
    assert set(COMPUTED) == set(COMMITTED) == set(AGGREGATES)
    assert set(SENT_ALONG) <= set(AGGREGATES)
    assert all(name == each.name for name, each in AGGREGATES.items())


def test_the_names_in_ledgers_and_evidence_are_those_from_before():
    names = (
        charter_sums.UPDATE,
        charter_sums.PROGRESS,
        charter_sums.STEERING,
        charter_sums.AUDIT,
        charter_sums.FAIRNESS,
    )
    assert tuple(AGGREGATES)[:5] == names


def test_a_kind_that_is_not_in_the_registry_is_refused_by_name():
    with pytest.raises(SecaggReject, match="no kind of sum is named 'survey'"):
        aggregate("survey")


def test_one_kind_trains_and_it_alone_may_lack_sites_of_the_roster():
    (trains,) = [each for each in AGGREGATES.values() if each.trains]
    assert trains.action is Action.TRAIN and not trains.whole_roster
    others = [each for each in AGGREGATES.values() if each is not trains]
    assert all(each.whole_roster and each.action is Action.EVALUATE for each in others)


def test_every_kind_is_charged_to_an_account_and_the_audit_to_both():
    trained = {charter_sums.UPDATE, charter_sums.STEERING, NORMS.name}
    assert charged_to(Account.TRAINING) == trained
    held_out = {charter_sums.PROGRESS, charter_sums.FAIRNESS, MEASURES.name, PAIRED.name}
    held_out |= {MONITORING.name}  # records of a window, which nothing is trained on
    assert charged_to(Account.EVALUATION) == held_out
    both = {charter_sums.AUDIT, AGREEMENT.name, CENSUS.name}
    assert charged_to(Account.TRAINING, Account.EVALUATION) == both


def test_a_kind_charges_those_accounts_that_it_says_and_no_other(heart):
    plan = make_plan(heart)
    for name, own in plan.sums.items():
        charged = tuple(account for account in Account if own.charge(account))
        assert charged == tuple(AGGREGATES[name].accounts)


def test_a_sum_before_the_step_is_of_the_adapter_before_it():
    rounds = {each.moment: each.adapter_round(3) for each in AGGREGATES.values()}
    assert rounds == {Moment.BEFORE_STEP: 2, Moment.STEP: 2, Moment.AFTER_STEP: 3}


def test_a_run_opens_what_is_due_and_ends_with_the_group_tables(heart):
    plan = make_plan(heart)
    due = list(sums_of(heart, plan))
    assert [number for name, number in due if name == charter_sums.UPDATE] == list(
        plan.update.rounds
    )
    last = heart.training.rounds
    assert due[-2:] == [(charter_sums.AUDIT, last), (charter_sums.FAIRNESS, last)]
    ends = [name for name, each in AGGREGATES.items() if each.ends_run]
    assert ends == [due[-1][0], MONITORING.name]  # a run of monitoring has one sum


def test_what_the_charter_does_not_ask_for_has_no_plan_no_task_and_no_permission(heart):
    bare = with_terms(heart, audit=UNAUDITED)
    plan = make_plan(bare)
    assert plan.audit is None and charter_sums.AUDIT not in plan.sums
    assert charter_sums.AUDIT not in sum_specs(bare, vector_length=10)
    assert AGGREGATES[charter_sums.AUDIT].permissions(bare) == ()
    with pytest.raises(AccountingError, match="asks for no audit"):
        AGGREGATES[charter_sums.AUDIT].of(plan.sums)


def test_a_policy_can_list_the_words_of_every_kind_and_no_others():
    (field,) = [each for each in dataclasses.fields(Allowed) if each.name == "releases"]
    check = field.metadata["check"]
    words = [word for each in AGGREGATES.values() for word in each.words]
    assert "explanation" in words
    assert all(check(word) == "" for word in words)
    assert check("survey").startswith("expected one of update, progress")
