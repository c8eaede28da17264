"""The plan: what a charter's run will spend, computed by each site for itself."""

import dataclasses
import math
import time

import pytest

from fedethics.charter.document import hash_of, load
from fedethics.charter.model import Member
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.events import NonPrivate, SampledGaussian
from fedethics.privacy.plan import make_plan
from tests.privacy.charters import HEART, UNAUDITED, with_terms


@pytest.fixture(scope="module")
def heart():
    return with_terms(load(HEART), audit=UNAUDITED)


def test_the_whole_run_costs_at_most_what_the_charter_says_and_hardly_less(heart):
    plan = make_plan(heart)
    assert plan.charter_hash == hash_of(heart)
    for spent in (plan.training.epsilon, plan.evaluation.epsilon):
        assert 0.99 * 3.0 < spent <= 3.0
    assert epsilon(plan.training.events, delta=1e-4) == plan.training.epsilon
    assert epsilon(plan.evaluation.events, delta=1e-4) == plan.evaluation.epsilon


def test_rounds_charged_one_at_a_time_add_up_to_the_plan(heart):
    plan = make_plan(heart)
    rounds = [plan.update.event] * heart.training.rounds
    assert epsilon(rounds, delta=plan.delta) == plan.training.epsilon
    tables = [plan.progress.noise.event] * len(plan.progress.rounds) + list(plan.fairness.events)
    assert epsilon(tables, delta=plan.delta) == plan.evaluation.epsilon


def test_the_wrong_number_of_steps_would_cost_more_than_the_charter_allows(heart):
    # A peer's mistake: noise calibrated for the steps of one round, or for an expected share.
    plan = make_plan(heart)
    assert isinstance(plan.update.event, SampledGaussian)
    assert plan.training.events == (
        dataclasses.replace(plan.update.event, steps=heart.training.rounds * 4),
    )
    redone = (*plan.training.events, plan.update.event)
    assert epsilon(redone, delta=plan.delta) > 3.0


@pytest.mark.parametrize(("every", "expected"), [(0, ()), (1, (1, 2, 3, 4)), (2, (2, 4)), (5, ())])
def test_progress_is_taken_every_so_often_and_never_on_the_last_round(heart, every, expected):
    charter = with_terms(heart, evaluation={"progress_every": every})
    assert make_plan(charter).progress.rounds == expected


def test_tables_share_one_budget_by_the_ratios_of_the_charter(heart):
    ratios = {"counts_ratio": 1.5, "histogram_ratio": 3.0, "progress_ratio": 6.0}
    charter = with_terms(heart, evaluation=ratios)
    plan = make_plan(charter)
    assert plan.fairness.histogram.std == pytest.approx(2 * plan.fairness.counts.std)
    assert plan.progress.noise.std == pytest.approx(4 * plan.fairness.counts.std)
    fewer = make_plan(with_terms(charter, evaluation={"progress_every": 0}))
    assert fewer.fairness.counts.std < plan.fairness.counts.std


def test_noise_shares_of_the_honest_sites_alone_carry_the_guarantee(heart):
    roster = tuple(
        Member(site=f"s{i}", public_key=f"{i:064x}", declared_records=100) for i in range(4)
    )
    enrolled = dataclasses.replace(heart, roster=roster, coordinator_key="f" * 64)
    plan = make_plan(enrolled)
    honest = len(roster) - enrolled.secagg.colluders
    assert honest * plan.fairness.counts.site_variance == pytest.approx(plan.fairness.counts.std**2)
    assert plan.fairness.counts.sum_variance == pytest.approx(plan.fairness.counts.std**2 * 4 / 3)
    local = make_plan(with_terms(enrolled, evaluation={"trust_mode": "local"}))
    assert local.fairness.counts.site_variance == local.fairness.counts.std**2
    assert local.fairness.counts.sum_variance == 4 * local.fairness.counts.std**2


def test_a_run_without_dp_says_so_and_costs_infinity(heart):
    charter = with_terms(heart, training={"mechanism": "none"}, evaluation={"mechanism": "none"})
    plan = make_plan(charter)
    assert plan.update.noise_multiplier is None
    assert isinstance(plan.update.event, NonPrivate)
    assert math.isinf(plan.training.epsilon) and math.isinf(plan.evaluation.epsilon)
    assert plan.fairness.counts.std == plan.fairness.histogram.sum_variance == 0.0


def test_the_plan_is_made_in_seconds(heart):
    fresh = with_terms(heart, training={"epsilon": 2.9}, evaluation={"epsilon": 2.9})
    started = time.process_time()
    make_plan(fresh)
    assert time.process_time() - started < 5


@pytest.mark.slow
def test_opacus_agrees_with_the_calibrated_noise(heart):
    from opacus.accountants import PRVAccountant, RDPAccountant

    plan = make_plan(heart)
    rate, steps = heart.privacy.training.sampling_rate, plan.training.events[0].steps
    for accountant, slack in ((PRVAccountant(), 0.02), (RDPAccountant(), 0.4)):
        accountant.history = [(plan.update.noise_multiplier, rate, steps)]
        theirs = accountant.get_epsilon(delta=plan.delta)
        assert plan.training.epsilon - 0.01 <= theirs <= plan.training.epsilon + slack
