"""Drift is measured as textbooks define it, and its intervals hold as often as they say."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import ks_2samp

from fedethics.fairness import drift
from fedethics.fairness.drift import Scored

BINS = 64
FIGURES = (drift.score_psi, drift.score_ks, drift.calibration, drift.label_rate)


def drawn(rng, records, *, rows, shift=0.0, sd=0.0):
    """Return noised counts of scores; labels follow the score, so calibration is perfect."""
    scores = np.clip(rng.beta(2.0 + shift, 3.0, size=records), 0.0, 1.0 - 1e-9)
    row = (rng.random(records) < scores).astype(int)
    if rows == 3:
        row[rng.random(records) < 0.1] = 2
    counts = np.zeros((rows, BINS))
    np.add.at(counts, (row, (scores * BINS).astype(int)), 1)
    return Scored(counts=counts + np.rint(rng.normal(0, sd, counts.shape)), variance=sd * sd)


def test_figures_without_noise_are_those_of_a_loop_over_records():
    rng = np.random.default_rng(1)
    then, now = drawn(rng, 20_000, rows=2), drawn(rng, 20_000, rows=3, shift=0.6)
    edges = drift.common_bins(then)
    p = [then.counts[:, a:b].sum() / then.counts.sum() for a, b in pairwise(edges)]
    q = [now.counts[:, a:b].sum() / now.counts.sum() for a, b in pairwise(edges)]
    psi = sum((a - b) * np.log(a / b) for a, b in zip(p, q, strict=True))
    found = drift.score_psi(then, now, confidence=0.95)
    # The shown value has the part taken out that sampling alone would add.
    assert found.low < psi < found.high
    assert found.value == pytest.approx(psi, abs=0.002)

    def places(counts):
        every = counts.sum(axis=0)
        return np.repeat(np.searchsorted(edges, np.arange(BINS), side="right"), every.astype(int))

    ks = ks_2samp(places(then.counts), places(now.counts)).statistic
    assert drift.score_ks(then, now, confidence=0.95).value == pytest.approx(ks)
    rate = now.counts[1].sum() / now.counts[:2].sum() - then.counts[1].sum() / then.counts.sum()
    assert drift.label_rate(then, now, confidence=0.95).value == pytest.approx(abs(rate))


def test_labels_that_turn_are_a_drift_of_calibration_and_scores_that_move_are_not():
    rng = np.random.default_rng(2)
    then = drawn(rng, 30_000, rows=2)
    moved = drawn(rng, 30_000, rows=3, shift=1.0)
    turned = Scored(counts=moved.counts[[1, 0, 2]], variance=0.0)
    kept = drift.calibration(then, moved, confidence=0.999)
    lost = drift.calibration(then, turned, confidence=0.999)
    assert kept.low == 0.0 and kept.high < 0.05
    assert lost.low > 0.05


def test_a_release_with_few_records_or_a_window_lost_in_noise_gives_no_estimate():
    rng = np.random.default_rng(3)
    few, many = drawn(rng, 5, rows=2), drawn(rng, 3000, rows=3)
    nothing = Scored(counts=np.zeros((3, BINS)), variance=400.0)
    for figure in FIGURES[:2]:
        assert not figure(few, many, confidence=0.95).known
    for figure in (drift.score_psi, drift.calibration, drift.label_rate):
        found = figure(drawn(rng, 3000, rows=2), nothing, confidence=0.95)
        assert found.low == 0.0 and not found.high <= 0.3


def test_no_bin_of_the_release_that_scores_are_cut_in_holds_few_records():
    counts = np.zeros((2, BINS))
    counts[:, 3], counts[0, 60] = 500, 40
    edges = drift.common_bins(Scored(counts=counts, variance=0.0))
    assert edges[0] == 0 and edges[-1] == BINS
    sums = [counts[:, a:b].sum() for a, b in pairwise(edges)]
    assert min(sums) >= drift.FEWEST


def test_the_chance_of_a_false_alarm_over_all_windows_is_at_most_what_was_agreed():
    assert sum(drift.spent_at(number, 0.05) for number in range(1, 100_000)) < 0.05
    assert drift.spent_at(1, 0.05) == 0.025


@pytest.mark.parametrize("figure", FIGURES)
def test_intervals_hold_the_true_value_as_often_as_they_say(figure):
    """In 300 windows, fewer than 255 at 95% would happen to a true interval once in 1e12."""
    rng = np.random.default_rng(4)
    truth = figure(
        drawn(rng, 400_000, rows=2), drawn(rng, 400_000, rows=3, shift=0.7), confidence=0.95
    ).value
    held = 0
    for _ in range(300):
        then, now = drawn(rng, 800, rows=2, sd=3.0), drawn(rng, 1200, rows=3, shift=0.7, sd=3.0)
        found = figure(then, now, confidence=0.95)
        held += found.low <= truth <= found.high
    assert held >= 255


def test_a_share_is_bounded_by_its_noise():
    exact = drift.share(30, 100, variance=0.0, confidence=0.95)
    noised = drift.share(30, 100, variance=100.0, confidence=0.95)
    assert exact.value == 0.3 and exact.low < 0.3 < exact.high
    assert noised.low < exact.low and noised.high > exact.high
