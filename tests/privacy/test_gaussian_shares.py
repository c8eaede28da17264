"""Integer noise: drawn exactly, and shares that add up to one Gaussian mechanism."""

import math

import numpy as np
import pytest
from scipy import stats

from fedethics.errors import AccountingError
from fedethics.privacy import wide_gaussian
from fedethics.privacy.gaussian_shares import SMOOTHING, share_std
from fedethics.privacy.noise import NoiseSource


def pmf(sigma, reach):
    k = np.arange(-reach, reach + 1)
    weights = np.exp(-(k**2) / (2 * sigma**2))
    return weights / weights.sum()


@pytest.mark.parametrize("sigma", [0.4, 1.0, 3.3, 40.0])
def test_draws_have_the_probabilities_of_the_discrete_gaussian(sigma):
    draws = wide_gaussian.sample(NoiseSource.fixed(b"table"), size=100_000, sigma=sigma)
    reach = wide_gaussian.reach(sigma)
    counts = np.bincount(draws + reach, minlength=2 * reach + 1)
    expected = 100_000 * pmf(sigma, reach)
    shown = expected > 5
    observed = np.append(counts[shown], counts[~shown].sum())
    wanted = np.append(expected[shown], expected[~shown].sum())
    assert stats.chisquare(observed, wanted * observed.sum() / wanted.sum()).pvalue > 1e-4


def test_the_sum_of_two_tables_is_the_discrete_gaussian_to_the_last_digit_of_a_float():
    # The construction of a wide draw, x + m y, at a size where all outcomes can be listed.
    stride, base = 3, 3 * math.sqrt(1 + 3**2)
    x = pmf(base, 200)
    y = np.zeros(stride * 400 + 1)
    y[::stride] = pmf(base, 200)
    both = np.convolve(x, y)
    last = len(both) // 2
    exact = pmf(base * math.sqrt(1 + stride**2), last)
    assert np.abs(both - exact).sum() < 1e-13


@pytest.mark.parametrize("sigma", [2500.0, 190_054.4, 3e9])
def test_wide_draws_are_normal_at_the_scale_that_can_be_seen(sigma):
    draws = wide_gaussian.sample(NoiseSource.fixed(b"wide"), size=60_000, sigma=sigma)
    assert stats.kstest(draws / sigma, "norm").pvalue > 1e-4
    assert abs(draws.std() / sigma - 1) < 6 / math.sqrt(2 * draws.size)
    assert np.abs(draws).max() <= wide_gaussian.reach(sigma)
    # No residue is left out: gaps would show in the remainders.
    remainders = np.bincount(draws % 7, minlength=7)
    assert stats.chisquare(remainders).pvalue > 1e-4


@pytest.mark.parametrize(("std", "shares"), [(8.0, 1), (9.0, 2), (12.0, 3), (30.0, 7)])
def test_shares_add_up_to_a_random_rounding_of_one_gaussian_release(std, shares):
    # Left: the sum of the honest shares. Right: X + N(0, std^2), rounded by a discrete Gaussian of
    # variance SMOOTHING around it, which looks at nothing else. They must be one distribution.
    one = share_std(std, shares=shares)
    single = pmf(one, math.ceil(14 * one))
    total = single
    for _ in range(shares - 1):
        total = np.convolve(total, single)
    last = len(total) // 2
    k = np.arange(-last, last + 1)
    y = np.arange(-12 * std, 12 * std, 1 / 64)
    near = np.arange(-40, 41)
    centre = np.round(y)
    kernel = np.exp(-((centre[:, None] + near - y[:, None]) ** 2) / (2 * SMOOTHING))
    kernel /= kernel.sum(axis=1, keepdims=True)
    weight = stats.norm.pdf(y, scale=std) / 64
    rounded = np.zeros(len(k))
    places = centre[:, None].astype(int) + near + last
    inside = (places >= 0) & (places < len(k))
    np.add.at(rounded, places[inside], (kernel * weight[:, None])[inside])
    assert 0.5 * np.abs(rounded - total).sum() < 1e-9  # what the sum over y leaves


def test_fewer_shares_than_promised_carry_less_noise_and_more_carry_more():
    one = share_std(100.0, shares=3)
    assert 2 * one**2 < 100.0**2 < 3 * one**2 < 100.0**2 + 2 * SMOOTHING


@pytest.mark.parametrize(("std", "shares"), [(3.0, 1), (10.0, 8), (0.0, 1), (10.0, 0)])
def test_shares_too_coarse_to_add_up_are_refused(std, shares):
    with pytest.raises(AccountingError, match=r"othing was drawn"):
        share_std(std, shares=shares)


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, math.inf, 1e-9])
def test_a_wrong_sigma_never_means_no_noise(sigma):
    with pytest.raises(AccountingError, match="nothing was drawn"):
        wide_gaussian.sample(NoiseSource.fixed(b""), size=1, sigma=sigma)
