"""The change of accuracy from four counts: a brute-force count, Tango's test, and coverage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedethics.errors import FairnessError
from fedethics.fairness.paired import (
    PairedSums,
    change_bands,
    change_of,
    change_that_holds,
    changes_by_group,
    lowest_change,
    tabulate_pairs,
)

answers = st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.booleans()), max_size=40)


def sums(table, *, noise=0.0, sites=5):
    table = np.atleast_2d(np.asarray(table, dtype=float))
    names = tuple("abcdef"[: len(table)])
    return PairedSums(
        groups=names, table=table, noise=noise, contributors=np.full(len(table), sites)
    )


@given(answers)
def test_entries_are_those_of_a_loop_and_one_record_moves_one_of_them(records):
    groups, before, after = (
        (np.array(side, dtype=int) for side in zip(*records, strict=True))
        if (records)
        else (np.zeros(0, int),) * 3
    )
    found = tabulate_pairs(groups, before=before, after=after, count=3)
    looped = np.zeros((3, 4), dtype=int)
    for group, first, second in records:
        looped[group, {(1, 1): 0, (0, 1): 1, (1, 0): 2, (0, 0): 3}[int(first), int(second)]] += 1
    assert np.array_equal(found, looped)
    for gone in range(min(len(records), 3)):
        keep = np.arange(len(records)) != gone
        less = tabulate_pairs(groups[keep], before=before[keep], after=after[keep], count=3)
        moved = found - less
        assert moved.sum() == 1 and moved.min() == 0 and moved[groups[gone]].sum() == 1


@given(answers.filter(lambda records: len(records) > 0))
def test_without_noise_the_change_is_the_difference_of_two_accuracies(records):
    _, before, after = (np.array(side, dtype=int) for side in zip(*records, strict=True))
    table = tabulate_pairs(np.zeros(len(records), int), before=before, after=after, count=1)
    found = change_of(sums(table), confidence=0.95)
    assert found.value == pytest.approx(after.mean() - before.mean())
    assert -1.0 <= found.low <= found.value <= found.high <= 1.0


@pytest.mark.parametrize(
    ("table", "noise"),
    [((70, 12, 3, 15), 0.0), ((700, 12, 40, 150), 9.0), ((3, 0, 0, 2), 0.0), ((50, 9, 9, 9), 60.0)],
)
def test_the_interval_is_all_that_the_stated_test_does_not_reject(table, noise):
    both, gained, lost, wrong = table
    size, kept = both + gained + lost + wrong, []
    for change in np.linspace(-1, 1, 200_001):
        spread = max(gained + lost - size * change**2, abs(change) * size * (1 - abs(change)))
        spread += noise * ((1 - change) ** 2 + (1 + change) ** 2 + 2 * change**2)
        if (gained - lost - change * size) ** 2 <= 1.959964**2 * spread:
            kept.append(change)
    found = change_of(sums(table, noise=noise), confidence=0.95)
    assert (found.low, found.high) == pytest.approx((min(kept), max(kept)), abs=2e-5)


@pytest.mark.parametrize("noise", [0.0, 20.0])
@pytest.mark.parametrize("shares", [(0.7, 0.05, 0.05, 0.2), (0.6, 0.12, 0.04, 0.24)])
def test_the_true_change_is_covered_with_noise_and_without(noise, shares):
    rng, told = np.random.default_rng(7), np.array(shares)
    tables = rng.multinomial(400, told, size=800).astype(float)
    tables += rng.poisson(noise / 2, tables.shape) - rng.poisson(noise / 2, tables.shape)
    truth = told[1] - told[2]

    def covered(noise):
        bands = change_bands(sums_of(tables, noise), z=1.959964)
        return np.mean((bands.low <= truth) & (truth <= bands.high))

    assert covered(noise) >= 0.93
    if noise:
        assert covered(0.0) < 0.9  # what this test would catch


def sums_of(tables, noise):
    names = tuple(map(str, range(len(tables))))
    return PairedSums(groups=names, table=tables, noise=noise, contributors=np.full(len(tables), 5))


def test_the_interval_is_narrower_than_that_of_two_accuracies():
    found = change_of(sums((700, 50, 50, 200)), confidence=0.95)
    two = 2 * 1.96 * np.sqrt(2 * 0.75 * 0.25 / 1000)
    assert found.high - found.low < 0.55 * two


def test_the_lowest_group_is_judged_at_once_with_all_others_and_small_ones_are_named():
    found = sums([(300, 60, 10, 130), (300, 10, 40, 150), (4, 1, 0, 2)])
    lowest = lowest_change(found, confidence=0.95, minimum_cell=11)
    # A small group hides another one with it, so that no total gives it away.
    assert "left out as too small to show" in lowest.note
    shown = sums([(300, 60, 10, 130), (300, 10, 40, 150)])
    lowest = lowest_change(shown, confidence=0.95, minimum_cell=11)
    alone = change_of(shown, 1, confidence=0.95)
    assert lowest.value == alone.value == pytest.approx(-0.06)
    assert lowest.low == pytest.approx(alone.low) and lowest.high > alone.high
    told = changes_by_group(found, confidence=0.95, minimum_cell=11)
    assert np.isnan(told["c"].value) and "fewer than 11" in told["c"].note


def test_noise_that_hides_how_many_there_are_gives_no_estimate():
    found = change_of(sums((-5, 3, -4, 2), noise=50.0), confidence=0.95)
    assert np.isnan(found.value) and (found.low, found.high) == (-1.0, 1.0)
    cut = change_of(sums((-5, 9, -4, 2), noise=50.0), confidence=0.95)
    assert cut.cut and np.isnan(cut.figure)


@pytest.mark.parametrize("bar", [-0.05, 0.0])
def test_what_the_forecast_says_holds_does_so_four_times_of_five(bar):
    change = change_that_holds(bar, records=1000, changed=0.1, noise=9.0, confidence=0.95)
    rng = np.random.default_rng(3)
    moved = max(0.1, abs(change))
    shares = [(1 - moved) / 2, (moved + change) / 2, (moved - change) / 2, (1 - moved) / 2]
    tables = rng.multinomial(1000, shares, size=800).astype(float)
    tables += rng.poisson(4.5, tables.shape) - rng.poisson(4.5, tables.shape)
    held = change_bands(sums_of(tables, 9.0), z=1.959964).low >= bar
    assert 0.75 <= held.mean() <= 0.87
    none = change_that_holds(0.9, records=20, changed=0.1, noise=400.0, confidence=0.95)
    assert none == np.inf


def test_unequal_lengths_and_unknown_groups_are_refused_by_number():
    with pytest.raises(FairnessError, match="2 groups, 1 answers before and 2 after"):
        tabulate_pairs(np.zeros(2, int), before=[True], after=[True, False], count=1)
    with pytest.raises(FairnessError, match="none of the declared ones"):
        tabulate_pairs(np.array([0, 3]), before=[True, True], after=[True, False], count=2)
