"""The accountant is tight for small budgets and answers soon for many steps."""

import math

import pytest
from dp_accounting.pld import privacy_loss_distribution as pld
from scipy.optimize import brentq
from scipy.stats import norm

from fedethics.privacy.accounting import _composed, _interval, _once, epsilon
from fedethics.privacy.calibration import noise_multiplier
from fedethics.privacy.events import SampledGaussian


def exact_noise(target, delta):
    """The least noise of one Gaussian release, by Balle and Wang (2018), theorem 8."""

    def excess(sigma):
        low, high = 1 / (2 * sigma) - target * sigma, -1 / (2 * sigma) - target * sigma
        return norm.cdf(low) - math.exp(target) * norm.cdf(high) - delta

    return brentq(excess, 0.05, 1e6)


@pytest.mark.parametrize("delta", [1e-4, 1e-6])
@pytest.mark.parametrize("target", [0.002, 0.005, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 8.0])
@pytest.mark.parametrize("steps", [1, 20])
def test_the_noise_found_is_the_least_there_is_but_for_one_percent(target, delta, steps):
    # Full batches compose like one release of sqrt(steps) less noise.
    found = noise_multiplier(epsilon=target, delta=delta, sampling_rate=1.0, steps=steps)
    least = exact_noise(target, delta) * math.sqrt(steps)
    assert least * (1 - 1e-6) <= found <= least * 1.01


@pytest.mark.parametrize("steps", [65, 100, 1000])
def test_many_steps_compose_to_the_same_bits_as_in_the_librarys_own_way(steps):
    event = SampledGaussian(2.0, 0.1, steps)
    once = _once(event.once(), _interval((event,), 1e-5))
    ours, theirs = _composed(once, steps), once.self_compose(steps)
    for delta in (1e-4, 1e-9):
        assert ours.get_epsilon_for_delta(delta) == theirs.get_epsilon_for_delta(delta)


def test_a_million_steps_raise_no_size_to_the_power_of_a_million(monkeypatch):
    # The sparse form is what does; it must never be asked.
    def asked(self, times, *rest):
        raise AssertionError(f"{times} steps in the sparse form")

    monkeypatch.setattr(pld.pld_pmf.SparsePLDPmf, "self_compose", asked)
    assert 4 < epsilon([SampledGaussian(10.0, 0.01, 1_000_000)], delta=1.1e-5) < 5


def test_more_noise_never_costs_more_where_the_grid_changes():
    costs = [
        epsilon([SampledGaussian(sigma, 1.0, 1)], delta=1e-5)
        for sigma in [2.0 * 1.15**k for k in range(45)]
    ]
    assert costs == sorted(costs, reverse=True)
