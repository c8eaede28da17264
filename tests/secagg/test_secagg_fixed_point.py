"""The quantiser keeps the mean, keeps its bound, and refuses what has no integer."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from fedethics.errors import SecaggReject
from fedethics.secagg import Quantiser
from tests.secagg.federation import FixedBytes

QUANTISER = Quantiser(clip=0.5, scale=1000.0)


@settings(max_examples=200, deadline=None)
@given(
    vector=arrays(
        np.float32, st.integers(1, 40), elements=st.floats(-(2.0**100), 2.0**100, width=32)
    ),
    clip=st.floats(1e-3, 1e3),
    scale=st.floats(1e-3, 1e6),
)
def test_each_coordinate_is_a_neighbour_on_the_grid_and_within_the_bound(vector, clip, scale):
    quantiser = Quantiser(clip=clip, scale=scale)
    grid = quantiser.quantise(vector, random_bytes=os.urandom)
    exact = np.clip(vector.astype(np.float64), -clip, clip) * scale
    assert grid.dtype == np.int64 and grid.shape == vector.shape
    assert np.all(np.abs(grid - exact) < 1)
    assert np.all(np.abs(grid) <= quantiser.bound)


@pytest.mark.parametrize("value", [0.0001, -0.0001, 0.12345, -0.12345, 0.4999])
def test_rounding_is_unbiased(value):
    draws = QUANTISER.quantise(np.full(400_000, value), random_bytes=FixedBytes("rounding"))
    ups = int(np.sum(draws > np.floor(value * 1000)))
    fraction = value * 1000 - np.floor(value * 1000)
    assert stats.binomtest(ups, draws.size, fraction).pvalue > 1e-5


def test_points_of_the_grid_stay_where_they_are():
    vector = np.array([0.0, 0.25, -0.25, 0.5, -0.5, 7.0, -7.0])
    for _ in range(50):
        grid = QUANTISER.quantise(vector, random_bytes=lambda size: b"\xff" * size)
        assert grid.tolist() == [0, 250, -250, 500, -500, 500, -500]
        grid = QUANTISER.quantise(vector, random_bytes=bytes)
        assert grid.tolist() == [0, 250, -250, 500, -500, 500, -500]


def test_chunking_uses_fresh_randomness_for_every_coordinate():
    calls = []

    def counted(size):
        calls.append(size)
        return os.urandom(size)

    QUANTISER.quantise(np.zeros(200_000), random_bytes=counted)
    assert sum(calls) == 4 * 200_000
    halves = QUANTISER.quantise(np.full(200_000, 0.0005), random_bytes=os.urandom)
    assert abs(np.corrcoef(halves[:100_000], halves[100_000:])[0, 1]) < 0.02


def test_the_sum_comes_back_in_the_original_unit():
    vectors = np.random.default_rng(0).normal(0, 0.1, (20, 5000))
    grids = [QUANTISER.quantise(vector, random_bytes=os.urandom) for vector in vectors]
    error = QUANTISER.dequantise(np.sum(grids, axis=0)) - np.clip(vectors, -0.5, 0.5).sum(axis=0)
    # Each rounding has a variance of at most a quarter of a squared step.
    assert np.sqrt(np.mean(error**2)) < 1.05 * np.sqrt(20 / 4) / 1000
    assert abs(np.mean(error)) < 5 * np.sqrt(20 / 4 / 5000) / 1000


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_refused_without_saying_where(bad):
    vector = np.zeros(100)
    vector[37] = bad
    with pytest.raises(SecaggReject) as caught:
        QUANTISER.quantise(vector, random_bytes=os.urandom)
    assert "37" not in str(caught.value) and str(bad) not in str(caught.value)


@pytest.mark.parametrize(
    ("clip", "scale"), [(0, 1), (-1, 1), (1, 0), (np.nan, 1), (1, np.inf), (2.0**30, 2.0**30)]
)
def test_impossible_grids_are_refused(clip, scale):
    with pytest.raises(ValueError, match="quantiser"):
        Quantiser(clip=clip, scale=scale)
