"""The discrete Gaussian: its distribution, the honest cost of sums of shares, the plan it makes."""

import math
from collections import defaultdict
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from scipy import stats

from fedethics.charter.document import load
from fedethics.errors import AccountingError
from fedethics.privacy import discrete_gaussian, wide_gaussian
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.events import (
    COUNT_MECHANISMS,
    DiscreteGaussianRelease,
    NonPrivate,
    SkellamRelease,
    from_document,
    merge,
)
from fedethics.privacy.noise import NoiseSource
from fedethics.privacy.plan import make_plan
from tests.privacy.charters import HEART, UNAUDITED, with_terms

FIXED = NoiseSource.fixed(b"tests of the discrete Gaussian")
DELTA = 1e-6


def exact_probabilities(variance, last):
    """The definition, in 60 digits."""
    with localcontext() as context:
        context.prec = 60
        v = Decimal(Fraction(variance).numerator) / Fraction(variance).denominator
        weights = {k: (-Decimal(k * k) / (2 * v)).exp() for k in range(-last, last + 1)}
        total = sum(weights.values())
        return {k: weight / total for k, weight in weights.items()}


def exact_sum(variance, shares, last=12):
    """The sum of `shares` draws, by the definition of a sum."""
    one = exact_probabilities(variance, last)
    total = {0: Decimal(1)}
    with localcontext() as context:
        context.prec = 60
        for _ in range(shares):
            grown = defaultdict(Decimal)
            for (a, p), (b, q) in product(total.items(), one.items()):
                grown[a + b] += p * q
            total = dict(grown)
    return total


def hockey_stick(mass, eps):
    """Sum of max(0, P - e^eps Q): the delta of one release at eps, by its definition."""
    factor = Decimal(eps).exp()
    return float(sum(max(Decimal(0), p - factor * mass.get(k + 1, 0)) for k, p in mass.items()))


def chi_square(draws, expected_at):
    low, high = int(draws.min()), int(draws.max())
    expected = np.array([expected_at(k) for k in range(low, high + 1)]) * draws.size
    observed = np.bincount(draws - low, minlength=expected.size)
    common = expected >= 10
    observed = np.append(observed[common], observed[~common].sum())
    expected = np.append(expected[common], draws.size - expected[common].sum())
    statistic = ((observed - expected) ** 2 / np.maximum(expected, 1e-9)).sum()
    return stats.chi2.sf(statistic, observed.size - 1)


@pytest.mark.parametrize("variance", [0.1, 0.7, 4.0, 150.25])
def test_probabilities_are_those_of_the_definition(variance):
    ours = discrete_gaussian.probabilities(variance)
    last = len(ours) // 2
    exact = exact_probabilities(variance, last)
    expected = [float(exact[k]) for k in range(-last, last + 1)]
    assert ours == pytest.approx(expected, rel=1e-11, abs=0)


@pytest.mark.parametrize("variance", [0.1, 0.7, 4.0, 150.25])
def test_draws_pass_chi_square_against_the_definition(variance):
    draws = DiscreteGaussianRelease.draw(
        FIXED.derive(f"{variance}"), variance=variance, size=300_000
    )
    assert draws.dtype == np.int64
    exact = exact_probabilities(variance, discrete_gaussian.reach(variance))
    assert chi_square(draws, lambda k: float(exact[k])) > 1e-4


def test_the_sum_of_coarse_shares_is_what_was_computed_and_is_no_discrete_gaussian():
    std, shares = 2.0, 25  # each share N_Z(0.16)
    total = sum(
        DiscreteGaussianRelease.draw(FIXED.derive(f"s{k}"), variance=0.16, size=300_000)
        for k in range(shares)
    )
    computed = discrete_gaussian.sum_probabilities(std, shares)
    naive = discrete_gaussian.probabilities(std * std)
    middle = len(computed) // 2
    assert chi_square(total, lambda k: computed[middle + k]) > 1e-4
    assert chi_square(total, lambda k: naive[len(naive) // 2 + k]) < 1e-12


@pytest.mark.parametrize(("variance", "shares"), [(0.3, 2), (0.3, 3), (1.0, 5), (2.0, 4)])
def test_sum_probabilities_are_those_of_the_definition(variance, shares):
    std = math.sqrt(variance * shares)
    ours, exact = discrete_gaussian.sum_probabilities(std, shares), exact_sum(variance, shares)
    middle = len(ours) // 2
    for k in range(-9, 10):
        assert ours[middle + k] == pytest.approx(float(exact[k]), rel=1e-9)


@pytest.mark.parametrize("share_std", [0.7, 1.0, 1.3])
@pytest.mark.parametrize("shares", [2, 7, 48])
def test_the_sum_is_within_the_published_distance_of_one_discrete_gaussian(share_std, shares):
    # Kairouz, Liu and Steinke (2021): |log p(k) / q(k)| <= tau for every k.
    std = share_std * math.sqrt(shares)
    p = discrete_gaussian.sum_probabilities(std, shares)
    q = discrete_gaussian.probabilities(std * std)
    p, q = (x[len(x) // 2 - int(6 * std) : len(x) // 2 + int(6 * std) + 1] for x in (p, q))
    tau = discrete_gaussian.sum_divergence(std, shares)
    assert np.abs(np.log(p / q)).max() <= tau + 1e-11


@pytest.mark.parametrize(
    ("grid_units", "tau"), [(0.5, 17.0), (1.0, 5.5e-4), (1.5, 2e-9), (2.0, 7e-17)]
)
def test_the_published_distance_for_200_shares(grid_units, tau):
    found = discrete_gaussian.sum_divergence(grid_units * math.sqrt(200), 200)
    assert found == pytest.approx(tau, rel=0.2)


# Cost


@pytest.mark.parametrize("std", [0.7, 1.282, 10.0, 40.0])
def test_one_draw_costs_what_the_published_closed_form_says(std):
    # Canonne, Kamath and Steinke (2020), theorem 7.
    eps = epsilon([DiscreteGaussianRelease(std)], delta=DELTA)
    mass = discrete_gaussian.probabilities(std * std)
    k = np.arange(len(mass)) - len(mass) // 2

    def closed_form(at):
        low, high = at * std * std - 0.5, at * std * std + 0.5
        return mass[k > low].sum() - math.exp(at) * mass[k > high].sum()

    assert closed_form(eps) <= DELTA * (1 + 1e-9)
    assert closed_form(eps - 5e-3) > DELTA


@pytest.mark.parametrize(("std", "releases"), [(2.0, 3), (10.0, 1), (10.0, 50), (20.0, 10)])
def test_one_draw_costs_what_dp_accounting_says(std, releases):
    pld = pytest.importorskip("dp_accounting.pld.privacy_loss_distribution")
    theirs = pld.from_discrete_gaussian_mechanism(std, value_discretization_interval=1e-3)
    expected = theirs.self_compose(releases).get_epsilon_for_delta(DELTA)
    ours = epsilon([DiscreteGaussianRelease(std, 1, releases)], delta=DELTA)
    # Theirs rounds every loss up, ours keeps the mean: ours is never above by more than the grid.
    assert expected - 2e-3 * releases < ours < expected + 1e-3


@pytest.mark.parametrize(
    ("std", "releases", "published"), [(10, 1, 0.43), (10, 50, 3.54), (20, 1, 0.21), (40, 1, 0.10)]
)
def test_it_is_below_concentrated_dp_and_near_it(std, releases, published):
    # OpenDP accounts the same noise by rho = 1 / (2 std^2); converted by Canonne et al., prop. 12.
    rho, orders = releases / (2 * std * std), np.linspace(1.01, 400, 40_000)
    bound = np.min(
        orders * rho
        + (np.log(1 / DELTA) + (orders - 1) * np.log1p(-1 / orders) - np.log(orders)) / (orders - 1)
    )
    assert bound == pytest.approx(published, rel=0.04)
    ours = epsilon([DiscreteGaussianRelease(float(std), 1, releases)], delta=DELTA)
    assert 0.85 * bound < ours < bound


@pytest.mark.parametrize(("variance", "shares"), [(0.3, 3), (0.5, 4), (1.0, 5)])
def test_a_sum_of_shares_costs_what_brute_force_over_all_outcomes_says(variance, shares):
    std = math.sqrt(variance * shares)
    eps = epsilon([DiscreteGaussianRelease(std, shares)], delta=DELTA)
    mass = exact_sum(variance, shares)
    assert hockey_stick(mass, eps) <= DELTA * (1 + 1e-9)
    assert hockey_stick(mass, eps - 5e-3) > DELTA


def test_coarse_shares_cost_more_than_one_draw_of_the_same_variance():
    alone = epsilon([DiscreteGaussianRelease(10.0, 1, 50)], delta=DELTA)
    fine = epsilon([DiscreteGaussianRelease(10.0, 48, 50)], delta=DELTA)
    coarse = epsilon([DiscreteGaussianRelease(10.0, 400, 50)], delta=DELTA)
    assert fine == pytest.approx(alone, rel=1e-5)
    assert coarse > 1.05 * alone


def test_both_ways_to_price_a_sum_agree_where_both_apply(monkeypatch):
    costs = []
    for limit in (0.0, 1e-7):
        monkeypatch.setattr(discrete_gaussian, "NEGLIGIBLE", limit)
        loss = discrete_gaussian.privacy_loss(10.0, shares=48, interval=1e-3)
        costs.append(loss.self_compose(20).get_epsilon_for_delta(1e-5))
    assert costs[0] == pytest.approx(costs[1], rel=1e-2)
    assert costs[0] < costs[1]  # what the bound adds


@pytest.mark.parametrize(("std", "shares"), [(0.01, 1), (0.01, 8), (0.5, 5000)])
def test_hardly_any_noise_costs_nearly_everything_and_breaks_nothing(std, shares):
    assert epsilon([DiscreteGaussianRelease(std, shares)], delta=DELTA) > 100


def test_events_survive_being_written_and_shares_keep_them_apart():
    events = [
        DiscreteGaussianRelease(3.0, 4),
        DiscreteGaussianRelease(3.0, 4, 2),
        DiscreteGaussianRelease(3.0, 5),
        SkellamRelease(3.0),
    ]
    assert [from_document(event.document()) for event in events] == events
    assert merge(events) == (
        DiscreteGaussianRelease(3.0, 4, 3),
        DiscreteGaussianRelease(3.0, 5),
        SkellamRelease(3.0),
    )
    with pytest.raises(AccountingError, match="shares"):
        DiscreteGaussianRelease(3.0, 0)
    with pytest.raises(AccountingError, match="whole number"):
        DiscreteGaussianRelease(3.0, 1.5)


# In a run


def test_a_charter_can_choose_it_and_the_run_keeps_its_epsilon():
    charter = with_terms(load_heart(), evaluation={"mechanism": "discrete-gaussian"})
    plan, skellam = make_plan(charter), make_plan(load_heart())
    budget = charter.privacy.evaluation.epsilon
    assert 0.98 * budget < plan.evaluation.epsilon <= budget
    assert plan.count_mechanism is DiscreteGaussianRelease and plan.fairness.counts.shares > 1
    assert {event.shares for event in plan.evaluation.events} == {plan.fairness.counts.shares}
    # Somewhat more noise than Skellam, whose tails are heavier, for the same budget.
    assert (
        skellam.fairness.counts.std < plan.fairness.counts.std < 1.2 * skellam.fairness.counts.std
    )
    local = with_terms(
        charter, evaluation={"mechanism": "discrete-gaussian", "trust_mode": "local"}
    )
    assert {event.shares for event in make_plan(local).evaluation.events} == {1}


def test_noise_of_the_honest_sites_alone_carries_the_guarantee():
    charter = with_terms(load_heart(), evaluation={"mechanism": "discrete-gaussian"})
    plan, size = make_plan(charter), 100_000
    variance = plan.fairness.counts.site_variance
    shares = [
        DiscreteGaussianRelease.draw(FIXED.derive(f"site {k}"), variance=variance, size=size)
        for k in range(plan.fairness.counts.shares)
    ]
    computed = discrete_gaussian.sum_probabilities(
        plan.fairness.counts.std, plan.fairness.counts.shares
    )
    middle = len(computed) // 2
    assert chi_square(sum(shares), lambda k: computed[middle + k]) > 1e-4
    assert epsilon(plan.evaluation.events, delta=plan.delta) <= charter.privacy.evaluation.epsilon


def test_without_noise_it_still_costs_infinity():
    terms = {"evaluation": {"mechanism": "none"}, "audit": UNAUDITED}
    plan = make_plan(with_terms(load_heart(), **terms))
    assert plan.count_mechanism is None
    assert all(isinstance(event, NonPrivate) for event in plan.evaluation.events)


# The attack on the last bits


def proven(outputs, neighbour):
    """Fraction of outputs that cannot be `neighbour` plus any noise (Mironov 2012).

    Floats near 0 are finer than floats near 1, so a fine output was not made by adding to 1.
    """
    return np.mean(neighbour + (outputs - neighbour) != outputs)


def test_the_attack_on_the_last_bits_of_noise_works_on_floats_and_finds_nothing_here():
    floats = np.random.default_rng(0).normal(0, 10.0, 200_000).astype(np.float32)
    assert proven(floats, np.float32(1)) > 0.01
    for name, mechanism in COUNT_MECHANISMS.items():
        for count in (0, 1):
            source = FIXED.derive(f"{name} {count}")
            outputs = count + mechanism.draw(source, variance=100.0, size=200_000)
            assert proven(outputs.astype(np.float32), np.float32(1 - count)) == 0.0
            assert np.abs(outputs - (1 - count)).max() < discrete_gaussian.reach(100.0)


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, math.inf])
def test_noise_of_no_spread_is_refused_rather_than_left_out(sigma):
    with pytest.raises((AccountingError, ValueError)):
        wide_gaussian.sample(FIXED, size=1, sigma=sigma)


def load_heart():
    return load(HEART)
