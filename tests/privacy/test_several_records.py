"""What holds for a person with several records, held to closed forms and to a tighter account."""

from __future__ import annotations

import itertools
import math

import pytest
from dp_accounting.pld import privacy_loss_distribution as pld
from scipy.stats import binom, norm

from fedethics.privacy.accounting import epsilon
from fedethics.privacy.events import NonPrivate, SampledGaussian, SkellamRelease
from fedethics.privacy.several_records import guarantees

DELTA = 1e-5


def gaussian_epsilon(sigma: float) -> float:
    """The epsilon of one Gaussian mechanism at DELTA, from its closed form (Balle and Wang)."""
    low, high = 0.0, 200.0
    for _ in range(80):
        middle = (low + high) / 2
        first = norm.sf(sigma * middle - 1 / (2 * sigma))
        second = math.exp(middle + norm.logsf(sigma * middle + 1 / (2 * sigma)))
        low, high = (middle, high) if first - second > DELTA else (low, middle)
    return high


@pytest.mark.parametrize("size", [1, 2, 5])
def test_k_records_under_one_gaussian_cost_what_a_kth_of_its_noise_costs(size):
    (found,) = guarantees([[SampledGaussian(8.0, 1.0, 1)]], delta=DELTA, sizes=[size])
    exact = gaussian_epsilon(8.0 / size)
    assert exact <= found.epsilon + 1e-3 <= 1.04 * exact + 0.03
    # The strongest test of N(0, 1) against N(k / sigma, 1).
    for rate, share in zip((0.01, 0.1), found.found, strict=True):
        best = norm.sf(norm.isf(rate) - size / 8.0)
        assert best <= share <= 1.02 * best


@pytest.mark.parametrize("size", [2, 3])
def test_no_less_than_the_tight_account_of_a_sampled_group_and_hardly_more(size):
    sigma, rate, steps = 2.0, 0.25, 10
    tight = pld.from_mixture_gaussian_mechanism(
        sigma,
        list(range(size + 1)),
        [float(binom.pmf(j, size, rate)) for j in range(size + 1)],
        value_discretization_interval=0.02,
    ).self_compose(steps)
    (found,) = guarantees([[SampledGaussian(sigma, rate, steps)]], delta=DELTA, sizes=[size])
    exact = tight.get_epsilon_for_delta(DELTA)
    assert exact - 0.02 <= found.epsilon <= 1.1 * exact


def test_twice_the_epsilon_is_less_than_what_two_records_get():
    events = [SampledGaussian(3.0, 0.5, 10)]
    one, two = guarantees([events], delta=DELTA, sizes=(1, 2))
    assert one.epsilon == epsilon(events, delta=DELTA)
    assert two.epsilon > 2 * one.epsilon


def test_a_person_between_two_accounts_has_the_weaker_guarantee_of_both():
    weak, strong = [SkellamRelease(4.0)], [SkellamRelease(40.0)]
    together = guarantees([strong, weak], delta=DELTA)
    assert together == guarantees([weak, strong], delta=DELTA)
    alone = guarantees([weak], delta=DELTA)
    for both, one in zip(together, alone, strict=True):
        assert both.epsilon >= one.epsilon and both.found[0] >= one.found[0] - 1e-12


def test_more_records_are_never_protected_better_and_nothing_is_promised_without_noise():
    found = guarantees([[SampledGaussian(2.0, 0.1, 20)]], delta=DELTA)
    for one, more in itertools.pairwise(found):
        assert one.epsilon < more.epsilon and one.found[0] < more.found[0]
    (bare,) = guarantees([[NonPrivate("a test")]], delta=DELTA, sizes=[1])
    assert math.isinf(bare.epsilon) and bare.found == (1.0, 1.0)
