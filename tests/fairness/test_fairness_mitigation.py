"""Weights and thresholds from opened sums: against the published formulas and Fairlearn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator

from fedethics.errors import FairnessError
from fedethics.fairness import Layout, SensitiveFeature, Tables, aggregate, tabulate
from fedethics.fairness.mitigation import (
    GroupWeights,
    Steering,
    first_weights,
    group_thresholds,
    next_weights,
)

LAYOUT = Layout(features=(SensitiveFeature(name="sex", groups=("Female", "Male")),), bins=100)


def counts(*groups):
    """counts[g, y, yhat] from (negatives, false alarms, positives, found) of each group."""
    return np.array([[[n - fp, fp], [p - tp, tp]] for n, fp, p, tp in groups])


def test_reweighing_makes_group_and_label_independent_as_kamiran_and_calders_do():
    table = counts((300, 0, 100, 0), (200, 0, 400, 0))
    steering = Steering(rule="reweighing", step=0.0, most=10.0)
    weights = next_weights(first_weights(2), table, variance=0.0, steering=steering).table
    people = table.sum(axis=2)
    weighted = weights * people
    share = weighted / weighted.sum()
    independent = share.sum(axis=1, keepdims=True) * share.sum(axis=0, keepdims=True)
    assert share == pytest.approx(independent)
    assert weights[0, 1] == pytest.approx(400 * 500 / (1000 * 100))


def test_dual_ascent_weighs_up_the_group_whose_positives_are_missed_and_only_its_positives():
    table = counts((1000, 100, 1000, 500), (1000, 100, 1000, 800))
    steering = Steering(rule="dual-ascent", step=2.0, most=5.0)
    weights = next_weights(first_weights(2), table, variance=0.0, steering=steering).table
    assert weights[0, 1] > 1.2 > 1.0 > weights[1, 1]
    assert weights[0, 0] == pytest.approx(weights[1, 0])
    again = next_weights(GroupWeights(table=weights), table, variance=0.0, steering=steering).table
    assert again[0, 1] > weights[0, 1]


def test_group_dro_weighs_up_the_group_with_more_errors_by_the_published_factor():
    table = counts((5000, 1500, 5000, 3500), (5000, 500, 5000, 4500))  # errors .3 and .1
    steering = Steering(rule="group-dro", step=3.0, most=5.0)
    weights = next_weights(first_weights(2), table, variance=0.0, steering=steering).table
    assert (weights[0] / weights[1]) == pytest.approx(np.exp(3.0 * 0.2), rel=0.01)


@settings(max_examples=60, deadline=None)
@given(
    rule=st.sampled_from(["reweighing", "dual-ascent", "group-dro"]),
    seed=st.integers(0, 2**32 - 1),
    variance=st.sampled_from([0.0, 50.0, 1e6]),
)
def test_weights_stay_within_their_bounds_whatever_the_noise(rule, seed, variance):
    rng = np.random.default_rng(seed)
    table = rng.integers(-200, 400, (4, 2, 2))
    steering = Steering(rule=rule, step=5.0, most=4.0)
    weights = first_weights(4)
    for _ in range(3):
        weights = next_weights(weights, table, variance=variance, steering=steering)
        assert ((weights.table >= 0.25 - 1e-9) & (weights.table <= 4.0 + 1e-9)).all()


def test_noise_alone_moves_no_multiplier():
    rng = np.random.default_rng(0)
    steering = Steering(rule="dual-ascent", step=5.0, most=5.0)
    moves = {0.0: [], 1600.0: []}
    for _ in range(300):
        noise = rng.normal(0, 40, (2, 2, 2)).round().astype(int)
        table = counts((300, 60, 300, 240), (300, 60, 300, 240)) + noise
        for told in moves:
            moved = next_weights(first_weights(2), table, variance=told, steering=steering)
            moves[told].append(np.abs(moved.table - 1.0).mean())
    # Told of the noise it moves a fraction of what it would if it took the counts at their word.
    assert np.mean(moves[1600.0]) < 0.4 * np.mean(moves[0.0])


def test_weights_that_are_no_weights_are_refused():
    for table in ([[1.0, 0.0]], [[1.0, np.nan]], [[1.0, 1.0, 1.0]]):
        with pytest.raises(FairnessError, match="group weights"):
            GroupWeights(table=np.array(table))


def unfair_records(size, seed=0):
    rng = np.random.default_rng(seed)
    sex = rng.integers(0, 2, size)
    labels = (rng.random(size) < np.where(sex == 1, 0.5, 0.3)).astype(int)
    scores = np.clip(rng.normal(0.3 + 0.3 * labels + 0.12 * sex, 0.18), 0, 0.999)
    return sex, labels, scores


def opened(sex, labels, scores, variance=0.0, seed=1):
    vector = tabulate(LAYOUT, groups=sex.reshape(-1, 1), labels=labels, scores=scores)
    if variance:
        rng = np.random.default_rng(seed)
        noise = rng.poisson(variance / 2, vector.size) - rng.poisson(variance / 2, vector.size)
        vector = vector + noise
    return Tables.from_vector(
        vector, layout=LAYOUT, counts_variance=variance, histogram_variance=variance, sites=4
    )


def decided(plan, sex, scores, seed=2):
    """Apply a plan to records, as whoever decides would."""
    rng = np.random.default_rng(seed)
    says = np.zeros(len(sex), dtype=int)
    for index, group in enumerate(plan.groups):
        own = np.flatnonzero(sex == index)
        threshold = rng.choice(group.thresholds, size=len(own), p=group.shares)
        says[own] = scores[own] >= threshold
    return says


def test_thresholds_close_the_gap_as_fairlearns_optimizer_does_on_raw_scores():
    from fairlearn.metrics import equalized_odds_difference
    from fairlearn.postprocessing import ThresholdOptimizer

    sex, labels, scores = unfair_records(20_000)
    tables = opened(sex, labels, scores)
    plan = group_thresholds(tables, feature="sex", slack=0.0)
    before = aggregate(tables, "equalized_odds_difference", feature="sex").value
    assert plan.gap_before == pytest.approx(before, abs=1e-9) and before > 0.1
    says = decided(plan, sex, scores)
    assert equalized_odds_difference(labels, says, sensitive_features=sex) < 0.02

    class Scores(BaseEstimator):
        def fit(self, *_):
            return self

        def predict(self, features):
            return features[:, 0]

    optimizer = ThresholdOptimizer(
        estimator=Scores(), constraints="equalized_odds", prefit=True, predict_method="predict"
    ).fit(scores.reshape(-1, 1), labels, sensitive_features=sex)
    theirs = optimizer.predict(scores.reshape(-1, 1), sensitive_features=sex, random_state=0)
    assert np.mean(says == labels) == pytest.approx(np.mean(theirs == labels), abs=0.01)


def test_thresholds_are_refused_where_noise_is_as_large_as_the_gap():
    sex, labels, scores = unfair_records(300)
    with pytest.raises(FairnessError, match="would follow the noise"):
        group_thresholds(opened(sex, labels, scores, variance=60.0), feature="sex")


def test_thresholds_from_noised_sums_still_close_a_gap_that_stands_out():
    sex, labels, scores = unfair_records(20_000)
    plan = group_thresholds(opened(sex, labels, scores, variance=200.0), feature="sex")
    says = decided(plan, sex, scores)
    for label in (0, 1):
        rates = [says[(sex == group) & (labels == label)].mean() for group in (0, 1)]
        assert abs(rates[0] - rates[1]) < 0.04
    assert plan.gap_after <= 0.0101
