"""The first charge of a run is granted only where every later sum of it can be answered."""

from __future__ import annotations

import dataclasses

import pytest

from fedethics import charter_sums
from fedethics.aggregates.noise import Account
from fedethics.aggregates.schedule import sums_of
from fedethics.charter.document import load
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.plan import make_plan
from tests.policy.test_permit import DATA, Site
from tests.privacy.charters import HEART

ALL = ("update", "progress", "fairness", "explanation", "steering", "audit")
TRAINED = (charter_sums.UPDATE, charter_sums.STEERING)


def steered(charter):
    mitigation = dataclasses.replace(
        charter.mitigation,
        method="reweighing",
        feature=charter.data.sensitive[0].name,
        epsilon=0.5,
    )
    return dataclasses.replace(charter, mitigation=mitigation)


def draft_of(kind: str):
    """The demo's charter, with its audit and light evaluations; steered where asked."""
    draft = load(HEART)
    return steered(draft) if kind == "steered" else draft


@pytest.fixture(params=["plain", "steered"])
def site(request, tmp_path):
    made = Site(tmp_path)
    roster = made.charter.roster
    made.charter = dataclasses.replace(
        draft_of(request.param), roster=roster, coordinator_key="d" * 64
    )
    return made


def test_the_plan_of_a_run_is_the_sum_of_what_each_of_its_sums_is_charged(site):
    plan = make_plan(site.charter)
    trained, held_out = [], []
    for task, _ in sums_of(site.charter, plan):
        trained.extend(plan.charge(task, Account.TRAINING))
        held_out.extend(plan.charge(task, Account.EVALUATION))
    delta = plan.delta
    assert epsilon(trained, delta=delta) == pytest.approx(plan.training.epsilon, rel=1e-6)
    assert epsilon(held_out, delta=delta) == pytest.approx(plan.evaluation.epsilon, rel=1e-6)


def test_a_run_is_refused_at_its_first_charge_where_the_policy_forbids_any_sum_of_it(site):
    plan = make_plan(site.charter)
    allow = dataclasses.replace(site.policy.allow, releases=ALL)
    site.ask(policy=dataclasses.replace(site.policy, allow=allow))
    asked = {task for task, _ in sums_of(site.charter, plan)}
    if site.charter.ethics.explanation.asked:
        asked.add("explanation")
    for kind in asked:
        rest = tuple(each for each in allow.releases if each != kind)
        policy = dataclasses.replace(site.policy, allow=dataclasses.replace(allow, releases=rest))
        assert any(f"{kind!r} releases" in reason for reason in site.reasons(policy=policy)), kind


@pytest.mark.parametrize("part", ["train", "held_out"])
def test_a_run_is_refused_at_its_first_charge_where_the_budget_lacks_any_part_of_it(site, part):
    plan = make_plan(site.charter)
    needed = plan.training.epsilon if part == "train" else plan.evaluation.epsilon
    other = plan.evaluation.epsilon if part == "train" else plan.training.epsilon
    if needed < other:
        site.charge(2, data_set=getattr(DATA, part))  # so that this account lacks it, not the other
        needed = epsilon(
            [
                *[make_plan(site.charter).update.event] * 2,
                *(plan.training.events if part == "train" else plan.evaluation.events),
            ],
            delta=plan.delta,
        )
    tight = site.policy_of(
        epsilon_per_data_set=needed * 0.999, epsilon_per_run=90.0, epsilon_per_year=90.0
    )
    label = getattr(DATA, part).label
    assert any(f"on {label!r}" in reason for reason in site.reasons(policy=tight))


@pytest.mark.parametrize("part", ["train_records", "held_out_records"])
def test_a_run_is_refused_at_its_first_charge_where_either_part_has_too_few_records(site, part):
    few = dataclasses.replace(DATA, **{part: 3})
    assert any("3 records, below minimum.records" in each for each in site.reasons(data=few))
