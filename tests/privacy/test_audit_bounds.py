"""Bounds on epsilon from attacks: against published code, brute force, and known mechanisms."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution as pld
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import brentq, linprog

from fedethics.privacy.audit import independent_trials, one_run
from fedethics.privacy.audit.independent_trials import Outcomes
from fedethics.privacy.audit.one_run import Guesses

DELTA = 1e-5


def gaussian_epsilon(sigma):
    mechanism = pld.from_gaussian_mechanism(sigma, value_discretization_interval=1e-3)
    return mechanism.get_epsilon_for_delta(DELTA)


def published_p_value(m, r, v, eps, delta):
    """Appendix D of Steinke, Nasr and Jagielski (2023), as printed there."""
    q = 1 / (1 + math.exp(-eps))
    beta = stats.binom.sf(v - 1, r, q)
    alpha = summed = 0
    for i in range(1, v + 1):
        summed = summed + stats.binom.pmf(v - i, r, q)
        if summed > i * alpha:
            alpha = summed / i
    return min(beta + alpha * delta * 2 * m, 1)


def own_p_value(found, eps, delta):
    accuracy = found.prior * math.exp(eps) / (found.prior * math.exp(eps) + 1 - found.prior)
    extra = found.sides * found.units * found.prior * (1 - accuracy) * delta
    return one_run.p_value(found.correct, found.guesses, accuracy=accuracy, extra=extra)


@given(st.integers(1, 400), st.integers(0, 100), st.floats(0.001, 0.2))
def test_limits_of_rates_are_those_of_scipy(trials, share, error):
    successes = trials * share // 100
    exact = stats.binomtest(successes, trials).proportion_ci(1 - 2 * error, "exact")
    low = independent_trials.least_rate(successes, trials, error)
    high = independent_trials.greatest_rate(successes, trials, error)
    assert (low, high) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_without_delta_the_one_run_bound_is_the_published_one():
    for m, r, v in ((100, 60, 55), (1000, 1000, 830), (40, 40, 40), (500, 90, 80)):
        found = Guesses(correct=v, guesses=r, units=m, sides=2)
        root = brentq(lambda e, m=m, r=r, v=v: published_p_value(m, r, v, e, 0.0) - 0.05, 0, 30)
        assert one_run.epsilon_bound(found, delta=0.0, error=0.05) == pytest.approx(root, abs=1e-5)


def test_with_delta_the_bound_is_near_the_published_one_or_above_and_below_that_without():
    for m, r, v, delta in ((1000, 300, 290, 1e-5), (4000, 800, 700, 1e-5), (700, 700, 520, 1e-4)):
        found = Guesses(correct=v, guesses=r, units=m, sides=2)
        published = brentq(
            lambda e, m=m, r=r, v=v, d=delta: published_p_value(m, r, v, e, d) - 0.05, 0, 30
        )
        bound = one_run.epsilon_bound(found, delta=delta, error=0.05)
        assert 0.98 * published < bound < one_run.epsilon_bound(found, delta=0.0, error=0.05)


@settings(max_examples=60)
@given(
    st.integers(1, 300), st.floats(0, 1), st.floats(0.1, 0.9), st.sampled_from([0.0, 1e-5, 1e-3])
)
def test_more_epsilon_never_makes_the_same_guesses_less_likely(guesses, share, prior, delta):
    found = Guesses(correct=round(guesses * share), guesses=guesses, units=600, prior=prior)
    values = [own_p_value(found, eps, delta) for eps in np.linspace(0, 6, 40)]
    assert all(b >= a - 1e-12 for a, b in pairwise(values))


@given(st.integers(1, 12), st.integers(0, 12), st.floats(0.05, 0.95), st.floats(0, 2))
def test_the_worst_excess_is_that_of_a_linear_program(guesses, correct, accuracy, extra):
    correct = min(correct, guesses)
    # Which binomial outcomes to lift to `correct`, at the price of the lift; solved by simplex.
    chance = stats.binom.pmf(np.arange(correct), guesses, accuracy)
    price = chance * (correct - np.arange(correct))
    best = 0.0
    if correct:
        best = -linprog(-chance, A_ub=[price], b_ub=[extra], bounds=(0, 1)).fun
    expected = min(1.0, stats.binom.sf(correct - 1, guesses, accuracy) + best)
    found = one_run.p_value(correct, guesses, accuracy=accuracy, extra=extra)
    assert found == pytest.approx(expected, abs=1e-7)


def test_the_gaussian_mechanism_is_refuted_no_more_often_than_promised():
    rng = np.random.default_rng(5)
    sigma, runs, members = 1.5, 300, 1000
    epsilon = gaussian_epsilon(sigma)
    above = {"trials": 0, "one run": 0}
    for _ in range(runs):
        inside = rng.random(2 * members) < 0.5
        score = inside + sigma * rng.standard_normal(2 * members)
        tried = [
            Outcomes(
                true_positives=int((score[inside] >= t).sum()),
                members=int(inside.sum()),
                false_positives=int((score[~inside] >= t).sum()),
                non_members=int((~inside).sum()),
            )
            for t in (0.5, 2.0, 3.5)
        ]
        above["trials"] += independent_trials.epsilon_bound(tried, delta=DELTA) > epsilon
        named = np.argsort(score)[-200:]
        found = Guesses(correct=int(inside[named].sum()), guesses=200, units=2 * members)
        above["one run"] += one_run.epsilon_bound(found, delta=DELTA, error=0.05) > epsilon
    assert max(above.values()) <= stats.binom.ppf(0.999, runs, 0.05)


@pytest.mark.parametrize("delta", [0.0, 0.01])
def test_a_mechanism_that_is_at_its_promise_is_refuted_at_most_as_often_as_stated(delta):
    # Randomised response of exactly epsilon, which names each unit outright with chance delta:
    # no (epsilon, delta)-private mechanism gives an attacker more, at any prior.
    rng = np.random.default_rng(6)
    epsilon, prior, units, runs = 1.0, 0.7, 400, 2000
    truth = math.exp(epsilon) / (1 + math.exp(epsilon))
    refuted = 0
    for _ in range(runs):
        inside = rng.random(units) < prior
        said = np.where(rng.random(units) < truth, inside, ~inside)
        outright = rng.random(units) < delta
        named = np.where(outright, inside, said)
        found = Guesses(
            correct=int((named & inside).sum()), guesses=int(named.sum()), units=units, prior=prior
        )
        refuted += one_run.refuted(found, epsilon=epsilon, delta=delta, error=0.05)
    assert refuted <= stats.binom.ppf(0.999, runs, 0.05)
    assert delta or refuted  # without delta the test is exact but for whole numbers


def test_one_that_tells_everything_once_in_a_while_is_within_its_delta():
    # (0, delta): with probability delta it publishes all members at once.
    found = Guesses(correct=50, guesses=50, units=100)
    assert own_p_value(found, 0.0, 0.1) >= 0.1


def test_half_the_noise_is_caught_and_all_of_it_is_not():
    rng = np.random.default_rng(7)
    promised = gaussian_epsilon(2.0)
    for sigma, caught in ((2.0, False), (1.0, True)):
        inside = np.arange(20_000) % 2 == 0
        score = inside + sigma * rng.standard_normal(20_000)
        tried = [
            Outcomes(
                true_positives=int((score[inside] >= t).sum()),
                members=10_000,
                false_positives=int((score[~inside] >= t).sum()),
                non_members=10_000,
            )
            for t in sigma * np.array([0.5, 1.5, 2.5, 3.0, 3.5])
        ]
        assert (independent_trials.epsilon_bound(tried, delta=DELTA) > promised) == caught


def test_trying_more_thresholds_costs_certainty():
    one = Outcomes(true_positives=300, members=1000, false_positives=50, non_members=1000)
    alone = independent_trials.epsilon_bound([one], delta=DELTA)
    among = independent_trials.epsilon_bound([one] * 20, delta=DELTA)
    assert 0 < among < alone < math.log(6)
    assert independent_trials.epsilon_bound([], delta=DELTA) == 0.0
