"""Noise: exact distribution, no reuse, no float, no copies."""

import copy
import itertools
import multiprocessing
import pickle
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from fedethics.errors import AccountingError
from fedethics.privacy.noise import NoiseSource
from fedethics.privacy.sampler import skellam_table

FIXED = NoiseSource.fixed(b"tests of noise")


@pytest.mark.parametrize("variance", [0.05, 1.64, 100.0, 12_000.5])
def test_draws_pass_chi_square_against_the_exact_distribution(variance):
    draws = FIXED.derive(f"chi-square {variance}").skellam(variance=variance, size=400_000)
    assert draws.dtype == np.int64
    low, high = int(draws.min()), int(draws.max())
    k = np.arange(low, high + 1)
    expected = stats.skellam.pmf(k, variance / 2, variance / 2) * draws.size
    observed = np.bincount(draws - low, minlength=k.size)
    common = expected >= 10
    observed = np.append(observed[common], observed[~common].sum())
    expected = np.append(expected[common], draws.size - expected[common].sum())
    statistic = ((observed - expected) ** 2 / np.maximum(expected, 1e-9)).sum()
    assert stats.chi2.sf(statistic, observed.size - 1) > 1e-4


@pytest.mark.parametrize("variance", [0.05, 1.64, 100.0])
def test_the_table_is_the_distribution_to_128_bits(variance):
    mpmath = pytest.importorskip("mpmath")
    mpmath.mp.prec = 300
    table = skellam_table(variance)
    mu = mpmath.mpf(Fraction(variance).numerator) / Fraction(variance).denominator
    cumulative = mpmath.mpf(0)
    for position in range(2 * table.reach):
        k = position - table.reach
        cumulative += mpmath.exp(-mu) * mpmath.besseli(abs(k), mu)
        if position % 7 == 0 or abs(k) < 5:
            ours = (int(table.high[position]) << 64) + int(table.low[position])
            assert abs(ours - cumulative * mpmath.mpf(2) ** 128) < 4


def test_shares_of_many_sites_add_up_to_the_promised_variance():
    std, sites, colluders, size = 5.128, 4, 1, 200_000
    share = std * std / (sites - colluders)
    total = sum(
        FIXED.derive(f"share {site}").skellam(variance=share, size=size) for site in range(sites)
    )
    promised = sites * share
    assert total.var() == pytest.approx(promised, rel=5 * np.sqrt(2 / size))
    honest = total - FIXED.derive("share 3").skellam(variance=share, size=size)
    assert honest.var() == pytest.approx(std * std, rel=5 * np.sqrt(2 / size))


def test_a_draw_on_the_edge_of_two_outcomes_is_settled_by_64_more_bits():
    table = skellam_table(100.0)
    edge = table.reach - 3  # the threshold between the outcomes -3 and -2
    word = table.high[edge : edge + 1]
    low = int(table.low[edge])
    assert table.draw(word, lambda: low - 1)[0] == -3
    assert table.draw(word, lambda: low)[0] == -2
    asked = []
    beside = np.array([word[0] + np.uint64(1)], dtype=np.uint64)
    assert table.draw(beside, lambda: asked.append(1) or 0)[0] == -2
    assert not asked


def test_every_output_of_one_count_is_possible_under_the_neighbouring_count():
    # Float32 Gaussian noise fails this: 1.2 % of its outputs prove the count (Mironov 2012).
    probabilities = np.diff(
        [
            0,
            *[
                (int(high) << 64) + int(low)
                for high, low in zip(
                    skellam_table(100.0).high, skellam_table(100.0).low, strict=True
                )
            ],
        ]
    )
    reachable = probabilities > 0
    first, last = np.flatnonzero(reachable)[[0, -1]]
    assert reachable[first : last + 1].all()


def test_two_sources_and_two_calls_never_draw_the_same_noise():
    one, two = NoiseSource.from_os(), NoiseSource.from_os()
    draws = [source.skellam(variance=1e4, size=64) for source in (one, two, one)]
    assert not any(np.array_equal(a, b) for a, b in itertools.pairwise(draws))
    assert len({one.random_bytes(8) for _ in range(100)}) == 100
    derived = [one.derive("x").random_bytes(16), one.derive("x").random_bytes(16)]
    assert derived[0] != derived[1]


def test_fixed_sources_repeat_by_seed_and_label_and_say_what_they_are():
    twin = NoiseSource.fixed(b"tests of noise")
    assert twin.fixed_for_tests and not NoiseSource.from_os().fixed_for_tests
    for label in ("a", "b"):
        assert twin.derive(label).random_bytes(32) == FIXED.derive(label).random_bytes(32)
    assert twin.derive("a").random_bytes(32) != twin.derive("b").random_bytes(32)
    assert NoiseSource.fixed(b"other").random_bytes(32) != NoiseSource.fixed(b"").random_bytes(32)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_source_cannot_be_duplicated(duplicate):
    with pytest.raises(TypeError, match="cannot be copied"):
        duplicate(NoiseSource.from_os())


def _send(source: NoiseSource, pipe) -> None:
    pipe.send(source.random_bytes(32))


def test_a_forked_process_does_not_inherit_the_stream():
    source = NoiseSource.from_os()
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_send, args=(source, theirs))
    child.start()
    assert ours.poll(timeout=300), "the child sent nothing"
    from_child = ours.recv()
    child.join(timeout=300)
    assert from_child != source.random_bytes(32)


def test_uniform_numbers_are_uniform_and_below_one():
    values = FIXED.derive("uniform").uniform(100_000)
    assert values.min() >= 0.0 and values.max() < 1.0
    assert stats.kstest(values, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("variance", [0.0, -1.0, float("nan"), float("inf")])
def test_noise_of_no_variance_is_refused_rather_than_left_out(variance):
    with pytest.raises(AccountingError):
        FIXED.skellam(variance=variance, size=1)
