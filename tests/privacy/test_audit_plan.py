"""What a membership audit takes of both budgets, and which charters may ask for one."""

from __future__ import annotations

import dataclasses

import pytest

from fedethics.charter.document import load
from fedethics.charter.model import Member
from fedethics.charter.privacy_terms import AuditTerms
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.events import DiscreteGaussianRelease, NonPrivate, SkellamRelease
from fedethics.privacy.plan import make_plan
from tests.privacy.charters import HEART, with_terms


def audited(audit=None, **privacy):
    charter = with_terms(load(HEART), audit=audit or AuditTerms(attack="loss"), **privacy)
    roster = tuple(
        Member(site=f"s{number}", public_key=f"{number:064x}", declared_records=100)
        for number in range(1, 6)
    )
    return dataclasses.replace(charter, roster=roster, coordinator_key="f" * 64)


def test_both_budgets_hold_with_the_audit_in_them():
    charter = audited()
    plan = make_plan(charter)
    assert plan.audit.members.event in plan.training.events
    assert plan.audit.non_members.event in plan.evaluation.events
    assert plan.training.epsilon <= charter.privacy.training.epsilon
    assert plan.evaluation.epsilon <= charter.privacy.evaluation.epsilon
    without = make_plan(audited(AuditTerms()))
    assert without.audit is None and plan.update.noise_multiplier > without.update.noise_multiplier
    assert plan.fairness.counts.std > without.fairness.counts.std


def test_each_half_costs_what_the_charter_says_at_most():
    plan = make_plan(audited(AuditTerms(attack="loss", epsilon=0.7)))
    for half in (plan.audit.members, plan.audit.non_members):
        assert 0.68 < epsilon((half.event,), delta=plan.delta) <= 0.7


def test_trained_units_are_trusted_with_as_little_as_the_training_is():
    # Local training: each site hides its own; distributed evaluation: four of five sites do.
    local = make_plan(audited()).audit
    assert (local.members.shares, local.non_members.shares) == (1, 4)
    assert local.members.sum_variance == pytest.approx(5 * local.members.std**2)
    assert local.non_members.sum_variance == pytest.approx(5 / 4 * local.non_members.std**2)
    charter = audited(training={"trust_mode": "distributed"})
    one_step = dataclasses.replace(charter.training, local_steps=1)
    shared = make_plan(dataclasses.replace(charter, training=one_step)).audit
    assert shared.members.shares == 4


def test_discrete_gaussian_shares_are_accounted_as_such():
    plan = make_plan(audited(evaluation={"mechanism": "discrete-gaussian"})).audit
    assert isinstance(plan.members.event, DiscreteGaussianRelease)
    assert plan.non_members.event.shares == 4
    assert isinstance(make_plan(audited()).audit.members.event, SkellamRelease)


def test_a_person_with_many_rows_costs_as_much_as_one_with_a_single_row():
    charter = audited()
    rows = dataclasses.replace(charter.data, person="id", max_rows_per_person=8)
    several = dataclasses.replace(
        charter, data=rows, privacy=dataclasses.replace(charter.privacy, unit="person")
    )
    assert make_plan(several).audit == make_plan(charter).audit


def test_without_dp_the_audit_has_no_noise_and_says_so():
    plan = make_plan(audited(training={"mechanism": "none"}))
    assert isinstance(plan.audit.members.event, NonPrivate) and not plan.audit.members.std
    assert plan.audit.non_members.std > 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"evaluation": {"mechanism": "none"}}, "the training would not be differentially private"),
        ({"audit": AuditTerms(attack="loss", epsilon=3.0)}, "uses up privacy.training"),
        ({"evaluation": {"epsilon": 0.5}}, "uses up privacy.evaluation"),
    ],
)
def test_an_audit_that_no_budget_can_carry_is_refused(changes, said):
    charter = audited(**changes)
    assert any(said in problem for problem in charter.privacy.problems())


def test_no_audit_asks_for_nothing():
    assert not audited(AuditTerms(epsilon=9.0)).privacy.problems()
