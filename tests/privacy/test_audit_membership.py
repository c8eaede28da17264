"""A membership attack read from opened, noised histograms: its figures and what they prove."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from fedethics.fairness.measured import TWO_CLASSES
from fedethics.privacy.accounting import attack_bound
from fedethics.privacy.audit.histogram import loss_histogram
from fedethics.privacy.audit.membership import Opened, audit_membership

DELTA = 1e-5
BINS = 16
TERMS = {"prior": 0.66, "epsilon": 3.0, "delta": DELTA}


def opened(inside, right, *, variance=0.0, rng=None):
    """Histograms of units with these probabilities of their true label, with Skellam noise."""
    step = np.minimum((right * BINS).astype(int), BINS - 1)
    tables = [np.bincount(step[inside == side], minlength=BINS) for side in (True, False)]
    if variance:
        tables = [
            t + rng.poisson(variance / 2, BINS) - rng.poisson(variance / 2, BINS) for t in tables
        ]
    return Opened(
        members=tables[0],
        non_members=tables[1],
        member_variance=variance,
        non_member_variance=variance,
    )


def population(rng, units, *, leak):
    inside = rng.random(units) < TERMS["prior"]
    right = 1 / (1 + np.exp(-rng.normal(0.8 + leak * inside, 1.2)))
    return inside, right


def test_a_unit_counts_once_by_the_mean_of_its_records():
    scores = np.array([0.9, 0.1, 0.95, 0.0, 1.0])
    labels = np.array([1, 0, 1, 1, 1], dtype=np.int8)
    units = np.array([0, 1, 2, 2, 3])
    table = loss_histogram(TWO_CLASSES.sureness(labels, scores), units=units, bins=10)
    # 0.9 and 1 - 0.1 in the tenth step, the mean of 0.95 and 0 in the fifth, 1.0 in the last.
    assert table.tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0, 3]


def test_one_unit_more_changes_one_entry_by_one():
    rng = np.random.default_rng(1)
    scores, labels = rng.random(40), (rng.random(40) < 0.5).astype(np.int8)
    units = np.sort(np.append(np.arange(13), rng.integers(0, 13, 27)))
    whole = loss_histogram(TWO_CLASSES.sureness(labels, scores), units=units, bins=BINS)
    kept = units < 12
    less = loss_histogram(TWO_CLASSES.sureness(labels, scores)[kept], units=units[kept], bins=BINS)
    assert np.abs(whole - less).sum() == 1


def test_without_noise_area_and_curve_are_those_of_scikit_learn():
    rng = np.random.default_rng(2)
    inside, right = population(rng, 3000, leak=0.7)
    audit = audit_membership(opened(inside, right), **TERMS)
    assert audit.area.value == pytest.approx(roc_auc_score(inside, np.floor(right * BINS)))
    assert audit.area.low < roc_auc_score(inside, right) < audit.area.high
    for alarms, found in zip(audit.false_alarms[1:-1], audit.found[1:-1], strict=True):
        least = np.quantile(right[~inside], 1 - alarms)
        assert found == pytest.approx((right[inside] >= least).mean(), abs=0.02)
    assert [one.allowed for one in audit.caught] == [
        attack_bound(3.0, DELTA, rate) for rate in (0.01, 0.10)
    ]


def test_intervals_hold_the_truth_as_often_as_they_say_noise_included():
    rng = np.random.default_rng(3)
    big_inside, big_right = population(rng, 400_000, leak=0.5)
    area = roc_auc_score(big_inside, big_right)
    least = np.quantile(big_right[~big_inside], 0.9)
    found = (big_right[big_inside] >= least).mean()
    runs, hits = 50, {"area": 0, "found": 0}
    for _ in range(runs):
        audit = audit_membership(
            opened(*population(rng, 900, leak=0.5), variance=60.0, rng=rng), **TERMS
        )
        hits["area"] += audit.area.low <= area <= audit.area.high
        hits["found"] += audit.caught[1].found.low <= found <= audit.caught[1].found.high
    assert min(hits.values()) >= stats.binom.ppf(0.001, runs, 0.95)


@pytest.mark.parametrize("variance", [60.0, pytest.param(0.0, marks=pytest.mark.slow)])
def test_a_mechanism_within_its_promise_is_refuted_at_most_once_in_twenty_runs(variance):
    # Randomised response of epsilon 1: what the best attack on an honest mechanism gets to see.
    rng, epsilon, runs = np.random.default_rng(4), 1.0, 100
    above = 0
    for _ in range(runs):
        inside = rng.random(1500) < 0.66
        truthful = rng.random(1500) < math.exp(epsilon) / (1 + math.exp(epsilon))
        right = np.where(inside == truthful, 0.9, 0.1)
        found = opened(inside, right, variance=variance, rng=rng)
        above += audit_membership(found, **TERMS).epsilon > epsilon
    assert above <= stats.binom.ppf(0.999, runs, 0.05)


def test_a_model_that_knows_its_members_by_heart_is_caught():
    rng = np.random.default_rng(5)
    inside = rng.random(4000) < 0.66
    right = np.where(inside, 0.97, rng.random(4000) * 0.5)
    audit = audit_membership(opened(inside, right, variance=100.0, rng=rng), **TERMS)
    assert audit.epsilon > TERMS["epsilon"]
    assert audit.caught[0].found.value > audit.caught[0].allowed


def test_an_attack_that_learns_nothing_shows_nothing_and_says_what_it_could_have_shown():
    rng = np.random.default_rng(6)
    small, large = (
        audit_membership(opened(*population(rng, n, leak=0.0), variance=100.0, rng=rng), **TERMS)
        for n in (740, 20_000)
    )
    assert small.epsilon == large.epsilon == 0.0
    assert small.reach < TERMS["epsilon"] < large.reach
    assert small.area.low < 0.5 < small.area.high


def test_empty_histograms_give_no_figures_and_no_bound():
    nothing = np.zeros(BINS, dtype=np.int64)
    audit = audit_membership(
        Opened(members=nothing, non_members=nothing, member_variance=4.0, non_member_variance=4.0),
        **TERMS,
    )
    assert audit.epsilon == audit.reach == 0.0
    assert audit.false_alarms == () and math.isnan(audit.area.value)
    assert (audit.area.low, audit.area.high) == (0.0, 1.0)
