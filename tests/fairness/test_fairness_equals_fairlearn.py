"""Without noise every metric is Fairlearn's on the pooled records, to the last bit or nearly.

Oracle: Fairlearn's MetricFrame and named functions, over scikit-learn. Where a rate's denominator
is empty, sklearn's normalised confusion matrix says 0; we say NaN, and a test pins exactly that.
"""

import fairlearn.metrics as fl
import numpy as np
import pytest
import sklearn.metrics as skm
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fedethics.fairness import Tables, aggregate, by_group, metric_names, overall, tabulate

EXACT = 1e-12
PAIRS = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def where(defined, metric):
    """`metric` where its denominator holds somebody, else NaN."""

    def oracle(y, p):
        return metric(y, p) if defined(np.asarray(y), np.asarray(p)).any() else np.nan

    return oracle


ORACLES = {
    "selection_rate": fl.selection_rate,
    "true_positive_rate": where(lambda y, p: y == 1, fl.true_positive_rate),
    "false_positive_rate": where(lambda y, p: y == 0, fl.false_positive_rate),
    "true_negative_rate": where(lambda y, p: y == 0, fl.true_negative_rate),
    "false_negative_rate": where(lambda y, p: y == 1, fl.false_negative_rate),
    "accuracy_score": skm.accuracy_score,
    "zero_one_loss": skm.zero_one_loss,
    "precision_score": where(lambda y, p: p == 1, skm.precision_score),
    "recall_score": where(lambda y, p: y == 1, skm.recall_score),
    "f1_score": where(lambda y, p: (y == 1) | (p == 1), skm.f1_score),
    "balanced_accuracy_score": where(
        lambda y, p: np.array([len(set(y)) == 2]), skm.balanced_accuracy_score
    ),
}


@st.composite
def records(draw):
    size = draw(st.integers(1, 80))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    # Skewed weights leave some groups and intersections empty in many examples.
    sex = rng.choice(2, size, p=(0.7, 0.3))
    age = rng.choice(3, size, p=draw(st.sampled_from([(0.4, 0.3, 0.3), (0.9, 0.1, 0.0)])))
    labels = (rng.random(size) < draw(st.sampled_from([0.1, 0.5]))).astype(int)
    scores = np.round(np.clip(rng.normal(0.35 + 0.2 * labels, 0.3), 0, 1), 3)
    return np.column_stack([sex, age]), labels, scores


def frame(layout, feature, groups, labels, scores):
    names = feature.split("*")
    columns = {
        name: np.array(layout.feature(name).groups)[
            groups[:, layout.features.index(layout.feature(name))]
        ]
        for name in names
    }
    return fl.MetricFrame(
        metrics=ORACLES,
        y_true=labels,
        y_pred=(scores >= layout.threshold).astype(int),
        sensitive_features=columns,
    )


def same_rates(tables, oracle, feature):
    for metric in ORACLES:
        ours = by_group(tables, metric, feature=feature, minimum_cell=0)
        for group, got in ours.items():
            key = tuple(group.split("*")) if "*" in feature else group
            expected = oracle.by_group[metric].get(key, np.nan)
            assert got.estimate.value == pytest.approx(expected, abs=EXACT, nan_ok=True)
            assert not got.suppressed
        assert overall(tables, metric).value == pytest.approx(
            oracle.overall[metric], abs=EXACT, nan_ok=True
        )


def same_aggregates(tables, oracle, feature):
    combined = {
        "difference": oracle.difference(),
        "ratio": oracle.ratio(),
        "group_min": oracle.group_min(),
        "group_max": oracle.group_max(),
    }
    for metric in ORACLES:
        known = int(oracle.by_group[metric].notna().sum())
        for combine, values in combined.items():
            got = aggregate(tables, f"{metric}_{combine}", feature=feature, minimum_cell=0)
            needed = 2 if combine in ("difference", "ratio") else 1
            expected = values[metric] if known >= needed else np.nan
            assert got.value == pytest.approx(expected, abs=EXACT, nan_ok=True), metric


@PAIRS
@given(data=records(), feature=st.sampled_from(["sex", "age", "sex*age", "age*sex"]))
def test_rates_and_aggregates_are_fairlearns_over_the_groups_that_have_a_value(
    feature, data, two_features, from_records
):
    tables = from_records(two_features, *data)
    oracle = frame(two_features, feature, *data)
    same_rates(tables, oracle, feature)
    same_aggregates(tables, oracle, feature)


@pytest.mark.exhaustive
@settings(PAIRS, max_examples=400)
@given(data=records(), feature=st.sampled_from(["sex", "age", "sex*age", "age*sex"]))
def test_rates_and_aggregates_are_fairlearns_on_many_more_tables(
    feature, data, two_features, from_records
):
    tables = from_records(two_features, *data)
    oracle = frame(two_features, feature, *data)
    same_rates(tables, oracle, feature)
    same_aggregates(tables, oracle, feature)


@settings(PAIRS, max_examples=15)
@given(data=records())
def test_the_named_disparities_are_fairlearns(data, two_features, from_records):
    groups, labels, scores = data
    sex = groups[:, 0]
    for group in (0, 1):
        assume(set(labels[sex == group]) == {0, 1} and (scores[sex == group] >= 0.5).any())
    tables = from_records(two_features, *data)
    predictions = (scores >= 0.5).astype(int)
    names = [name for name in metric_names("aggregate") if hasattr(fl, name)]
    assert len(names) == 29
    # Those of scores have a test of their own: bins certify them, they do not equal them.
    of_scores = {name for name in names if name.startswith(("roc_auc", "mean_"))}
    assert len(of_scores) == 3
    for name in set(names) - of_scores:
        expected = getattr(fl, name)(labels, predictions, sensitive_features=sex)
        got = aggregate(tables, name, feature="sex", minimum_cell=0).value
        assert got == pytest.approx(expected, abs=EXACT, nan_ok=True), name
    impact = fl.demographic_parity_ratio(labels, predictions, sensitive_features=sex)
    got = aggregate(tables, "four_fifths", feature="sex", minimum_cell=0).value
    assert got == pytest.approx(impact, abs=EXACT, nan_ok=True)


@PAIRS
@given(data=records(), sites=st.integers(3, 5), seed=st.integers(0, 999))
def test_the_sum_over_sites_gives_the_metrics_of_the_pooled_records(
    data, sites, seed, two_features, from_records
):
    groups, labels, scores = data
    home = np.random.default_rng(seed).integers(0, sites, len(labels))
    vectors = [
        tabulate(two_features, groups=groups[at], labels=labels[at], scores=scores[at])
        for at in (home == site for site in range(sites))
    ]
    summed = Tables.from_vector(
        np.sum(vectors, axis=0),
        layout=two_features,
        counts_variance=0,
        histogram_variance=0,
        sites=sites,
    )
    pooled = from_records(two_features, *data)
    assert np.array_equal(summed.counts, pooled.counts)
    assert np.array_equal(summed.histogram, pooled.histogram)
    for name in metric_names("aggregate"):
        mine, theirs = (repr(aggregate(t, name, feature="sex")) for t in (summed, pooled))
        assert mine == theirs


def test_a_rate_that_nobody_could_show_is_nan_where_fairlearn_reports_zero(from_counts):
    # Group 1 has 40 people and not one positive: no true positive rate exists.
    tables = from_counts([[[50, 10], [10, 30]], [[35, 5], [0, 0]]])
    labels, predictions, group = [], [], []
    for g, y, p in np.ndindex(2, 2, 2):
        people = int(tables.counts[g, y, p])
        labels += [y] * people
        predictions += [p] * people
        group += [g] * people
    assert fl.equal_opportunity_difference(labels, predictions, sensitive_features=group) == 0.75
    got = aggregate(tables, "equal_opportunity_difference", feature="feature")
    assert np.isnan(got.value)
    assert (got.low, got.high) == (0.0, 1.0)
    assert "group 1" in got.note


def test_a_gap_between_one_group_and_nobody_is_nan(from_counts):
    tables = from_counts([[[50, 10], [10, 30]], [[0, 0], [0, 0]]])
    got = aggregate(tables, "demographic_parity_difference", feature="feature")
    assert np.isnan(got.value) and "group 1" in got.note


def test_where_no_group_has_a_false_positive_the_ratio_is_fairlearns_and_its_limit_honest(
    from_counts,
):
    tables = from_counts([[[50, 0], [10, 30]], [[60, 0], [20, 20]]])
    labels, predictions, group = [], [], []
    for g, y, p in np.ndindex(2, 2, 2):
        people = int(tables.counts[g, y, p])
        labels += [y] * people
        predictions += [p] * people
        group += [g] * people
    expected = fl.equalized_odds_ratio(labels, predictions, sensitive_features=group)
    got = aggregate(tables, "equalized_odds_ratio", feature="feature")
    assert got.value == expected == 0.5 / 0.75
    assert got.low == 0.0
