"""The accountant against dp-accounting, closed forms, published figures and peers' mistakes."""

import math

import numpy as np
import pytest
from dp_accounting import dp_event
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fedethics.errors import AccountingError
from fedethics.privacy import skellam
from fedethics.privacy.accounting import attack_bound, epsilon
from fedethics.privacy.calibration import noise_multiplier
from fedethics.privacy.events import (
    NonPrivate,
    SampledGaussian,
    SkellamRelease,
    from_document,
    merge,
)


@pytest.mark.parametrize(
    ("event", "published"),
    [(SampledGaussian(1.5, 0.1, 100), 3.536), (SampledGaussian(1.0, 0.01, 1000), 1.829)],
)
def test_epsilon_equals_dp_accounting_and_the_anchor_figures(event, published):
    gaussian = dp_event.GaussianDpEvent(event.noise_multiplier)
    sampled = dp_event.PoissonSampledDpEvent(event.sampling_rate, gaussian)
    reference = PLDAccountant(value_discretization_interval=1e-3)
    reference.compose(sampled, event.steps)
    ours = epsilon([event], delta=1e-5)
    assert ours == pytest.approx(reference.get_epsilon(1e-5), abs=1e-6)
    assert ours == pytest.approx(published, abs=5e-4)


def test_an_unsampled_gaussian_equals_its_closed_form():
    # Balle and Wang (2018), theorem 8: delta as a function of epsilon, sensitivity 1.
    sigma, eps = 4.0, epsilon([SampledGaussian(4.0, 1.0, 1)], delta=1e-5)
    delta = stats.norm.cdf(0.5 / sigma - eps * sigma) - math.exp(eps) * stats.norm.cdf(
        -0.5 / sigma - eps * sigma
    )
    assert delta == pytest.approx(1e-5, rel=0.01)
    assert delta <= 1e-5


def test_ten_count_releases_beside_training_cost_what_composition_says_not_the_sum():
    training, counts = SampledGaussian(1.0, 0.01, 1000), SkellamRelease(20.0, 10)
    together = epsilon([training, counts], delta=1e-5)
    assert together == pytest.approx(1.932, abs=2e-3)
    assert together < epsilon([training], delta=1e-5) + epsilon([counts], delta=1e-5) - 0.3


def test_rounds_accounted_one_by_one_cost_as_much_as_all_together():
    # The mistake of peers: an engine rebuilt every round shows 0.72 where ten rounds cost 1.83.
    one_round = SampledGaussian(1.0, 0.01, 100)
    assert epsilon([one_round], delta=1e-5) == pytest.approx(0.72, abs=0.01)
    assert epsilon([one_round] * 10, delta=1e-5) == pytest.approx(1.829, abs=1e-3)


def test_the_noise_is_calibrated_over_all_steps_not_over_one_round():
    sigma = noise_multiplier(epsilon=3.0, delta=1e-5, sampling_rate=0.02, steps=2000)
    assert sigma == pytest.approx(1.452, abs=1e-3)
    for_one_round = noise_multiplier(epsilon=3.0, delta=1e-5, sampling_rate=0.02, steps=100)
    assert epsilon([SampledGaussian(for_one_round, 0.02, 2000)], delta=1e-5) > 6


@settings(max_examples=15, deadline=None)
@given(st.floats(0.3, 10.0), st.floats(0.01, 1.0), st.integers(1, 500), st.floats(1e-8, 1e-3))
def test_calibrated_noise_is_enough_and_hardly_more_than_enough(target, rate, steps, delta):
    sigma = noise_multiplier(epsilon=target, delta=delta, sampling_rate=rate, steps=steps)
    assert epsilon([SampledGaussian(sigma, rate, steps)], delta=delta) <= target
    assert sigma == float(f"{sigma:.4g}")
    assert epsilon([SampledGaussian(sigma * 0.99, rate, steps)], delta=delta) > target


def test_edge_cases_cost_what_they_must():
    assert epsilon([], delta=1e-5) == 0.0
    assert math.isinf(epsilon([SkellamRelease(10.0), NonPrivate("test")], delta=1e-5))
    assert epsilon([SampledGaussian(0.01, 1.0, 50)], delta=1e-5) > 200_000
    with pytest.raises(AccountingError, match="delta"):
        epsilon([], delta=0.0)


@pytest.mark.parametrize("bad", [(0.0, 0.5, 1), (1.0, 0.0, 1), (1.0, 1.1, 1), (1.0, 0.5, 0)])
def test_an_event_that_no_accountant_can_price_is_refused(bad):
    with pytest.raises(AccountingError):
        SampledGaussian(*bad)


def test_events_survive_being_written_and_merging_changes_no_total():
    events = [
        SampledGaussian(2.0, 0.5, 4),
        SkellamRelease(3.0),
        SampledGaussian(2.0, 0.5, 4),
        SkellamRelease(3.0, 2),
        SkellamRelease(4.0),
    ]
    assert [from_document(event.document()) for event in events] == events
    assert merge(events) == (
        SampledGaussian(2.0, 0.5, 8),
        SkellamRelease(3.0, 3),
        SkellamRelease(4.0),
    )
    with pytest.raises(AccountingError, match="unknown kind"):
        from_document({"kind": "laplace"})
    with pytest.raises(AccountingError, match="malformed"):
        from_document({"kind": "skellam", "std": 3.0, "sensitive": 0.1})


@pytest.mark.parametrize("std", [0.7, 1.282, 10.0, 150.0])
def test_skellam_probabilities_are_those_of_scipy(std):
    half = std * std / 2
    ours = skellam.probabilities(std * std)
    last = len(ours) // 2
    k = np.arange(-last, last + 1)
    near = np.abs(k) < 8 * std
    assert ours[near] == pytest.approx(stats.skellam.pmf(k, half, half)[near], rel=1e-7)
    assert ours.sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(("std", "releases"), [(1.282, 1), (10.0, 1), (2.0, 2), (1.0, 3)])
def test_a_skellam_epsilon_matches_brute_force_over_all_outcomes(std, releases):
    delta = 1e-6
    eps = epsilon([SkellamRelease(std, releases)], delta=delta)
    exact = _hockey_stick(std, releases, eps)
    assert exact <= delta * (1 + 1e-9)
    # Within the grid of 1e-3: a slightly smaller epsilon would be a lie.
    assert _hockey_stick(std, releases, eps - 5e-3) > delta


@pytest.mark.parametrize(("std", "releases"), [(5.0, 1), (10.0, 50), (20.0, 10)])
def test_a_skellam_epsilon_is_below_the_published_renyi_bound_and_near_it(std, releases):
    # Agarwal et al. (2021), theorem 3.3, with sensitivities L1 = L2 = 1 and variance mu.
    mu = std * std
    orders = np.arange(2, 400)
    rdp = orders / (2 * mu) + np.minimum(((2 * orders - 1) + 6) / (4 * mu**2), 3 / (2 * mu))
    # Canonne, Kamath and Steinke (2020), proposition 12.
    delta = 1e-6
    bound = np.min(
        releases * rdp
        + (np.log(1 / delta) + (orders - 1) * np.log1p(-1 / orders) - np.log(orders)) / (orders - 1)
    )
    exact = epsilon([SkellamRelease(std, releases)], delta=delta)
    assert 0.8 * bound < exact < bound


def test_epsilon_is_below_renyi_accounting_on_a_long_mixed_life():
    events = [SampledGaussian(2.0, 0.5, 20), SampledGaussian(3.0, 0.1, 100)]
    reference = RdpAccountant()
    for event in events:
        gaussian = dp_event.GaussianDpEvent(event.noise_multiplier)
        reference.compose(
            dp_event.PoissonSampledDpEvent(event.sampling_rate, gaussian), event.steps
        )
    ours = epsilon(events, delta=1e-5)
    assert 0.8 * reference.get_epsilon(1e-5) < ours < reference.get_epsilon(1e-5)


def test_the_attack_bound_holds_against_the_best_attack_on_a_gaussian():
    # The likelihood-ratio test on N(0, s) against N(1, s) is the best attack there is.
    sigma, delta = 1.5, 1e-5
    eps = epsilon([SampledGaussian(sigma, 1.0, 1)], delta=delta)
    for rate in (0.001, 0.01, 0.1, 0.5):
        best = stats.norm.cdf(1 / sigma - stats.norm.isf(rate))
        assert best <= attack_bound(eps, delta, rate)
    assert attack_bound(0.0, 0.0, 0.1) == pytest.approx(0.1)
    assert attack_bound(math.inf, 1e-5, 0.01) == 1.0


def _hockey_stick(std: float, releases: int, eps: float) -> float:
    """Sum max(0, P - e^eps Q) over every joint outcome of independent releases."""
    half = std * std / 2
    k = np.arange(-int(16 * std) - 12, int(16 * std) + 13)
    with_unit = stats.skellam.pmf(k - 1, half, half)
    without = stats.skellam.pmf(k, half, half)
    joint_p, joint_q = with_unit, without
    for _ in range(releases - 1):
        joint_p = np.multiply.outer(joint_p, with_unit).ravel()
        joint_q = np.multiply.outer(joint_q, without).ravel()
    return float(np.maximum(0.0, joint_p - math.exp(eps) * joint_q).sum())
