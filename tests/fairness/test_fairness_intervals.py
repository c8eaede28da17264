"""Intervals against published figures, scipy, and the meaning of a confidence."""

import numpy as np
import pytest
from scipy.stats import binomtest

from fedethics.fairness.estimate import (
    Bands,
    all_pairs,
    differences,
    each_of,
    rate_bands,
    ratios,
    two_sided,
)

Z = two_sided(0.95)


def rates(hits, sizes, *, noise=0.0, z=Z):
    hits, sizes = np.asarray(hits, float), np.asarray(sizes, float)
    return rate_bands(hits, sizes - hits, hits_noise=noise, misses_noise=noise, z=z)


@pytest.mark.parametrize(("hits", "size"), [(0, 5), (5, 5), (1, 30), (81, 263), (499, 1000)])
def test_without_noise_a_rate_has_wilsons_interval(hits, size):
    expected = binomtest(hits, size).proportion_ci(0.95, method="wilson")
    got = rates([hits], [size])
    assert (got.low[0], got.high[0]) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [  # Newcombe (1998), Stat. Med. 17:873, table II, method 10
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0000),
        ((10, 10), (0, 10), 0.6075, 1.0000),
    ],
)
def test_without_noise_a_difference_has_newcombes_interval(first, second, low, high):
    got = differences(rates(*([x] for x in first)), rates(*([x] for x in second)))
    assert (got.low[0, 0], got.high[0, 0]) == pytest.approx((low, high), abs=6e-5)


def test_in_large_samples_a_ratio_has_the_log_delta_interval():
    (x, n), (y, m) = (600, 2000), (800, 2000)
    spread = Z * np.sqrt(1 / x - 1 / n + 1 / y - 1 / m)
    expected = (x / n) / (y / m) * np.exp([-spread, spread])
    got = ratios(rates([x], [n]), rates([y], [m]))
    assert (got.low[0, 0], got.high[0, 0]) == pytest.approx(tuple(expected), rel=3e-3)


def test_ratios_at_the_ends_of_the_range_stay_open_and_finite_numbers():
    ends = ratios(rates([0, 10], [10, 10]), rates([0, 10], [10, 10]))
    assert np.isnan(ends.value[0, 0])
    assert not np.isnan(ends.low).any() and not np.isnan(ends.high).any()
    assert ends.high[1, 0] == np.inf  # 10/10 over 0/10
    assert 0.7 < ends.low[1, 1] < 1.0 < ends.high[1, 1]


def test_critical_values_are_those_of_the_tables():
    assert all_pairs(2, 0.95) == pytest.approx(1.959964, abs=1e-6)
    assert all_pairs(3, 0.95) * np.sqrt(2) == pytest.approx(3.314, abs=1e-3)
    assert all_pairs(10, 0.95) * np.sqrt(2) == pytest.approx(4.474, abs=1e-3)
    assert each_of(1, 0.95) == pytest.approx(1.959964, abs=1e-6)
    assert each_of(5, 0.95) > each_of(2, 0.95) > each_of(1, 0.95)


def test_noise_only_ever_widens_a_rates_interval():
    widths = [np.ptp([b.low, b.high]) for b in (rates([30], [100], noise=v) for v in (0, 2, 50))]
    assert widths[0] < widths[1] < widths[2]


def test_noise_that_hides_the_denominator_leaves_any_rate_possible():
    hidden = rates([4], [10], noise=200.0)
    assert (hidden.low[0], hidden.high[0]) == (-np.inf, np.inf)


@pytest.mark.parametrize(("hits", "misses"), [(-9.0, 40.0), (40.0, -9.0), (-3.0, -2.0)])
def test_negative_noisy_counts_give_a_value_inside_its_interval_or_none(hits, misses):
    got = rate_bands(np.array([hits]), np.array([misses]), hits_noise=25.0, misses_noise=25.0, z=Z)
    if max(hits, misses) > 0:
        assert 0.0 <= got.value[0] <= 1.0
        assert got.low[0] <= got.value[0] <= got.high[0]
    else:
        assert np.isnan(got.value[0])


def test_a_value_lies_inside_its_interval_over_many_tables():
    rng = np.random.default_rng(3)
    bands = rate_bands(
        rng.integers(-20, 60, 5000).astype(float),
        rng.integers(-20, 60, 5000).astype(float),
        hits_noise=30.0,
        misses_noise=90.0,
        z=Z,
    )
    known = ~np.isnan(bands.value)
    assert known.sum() > 4000
    assert (bands.low[known] <= bands.value[known]).all()
    assert (bands.value[known] <= bands.high[known]).all()
    some = Bands(*(side[known][:60] for side in bands))
    gaps = differences(some, some)
    assert (gaps.low <= gaps.value).all() and (gaps.value <= gaps.high).all()
