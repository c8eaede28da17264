"""Score means, calibration, subgroup areas and inequality: equal to AIF360, sklearn or a loop."""

import warnings

import numpy as np
import pytest
import sklearn.metrics as skm
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fedethics.errors import FairnessError
from fedethics.fairness import (
    Layout,
    SensitiveFeature,
    Tables,
    aggregate,
    by_group,
    find_metric,
    overall,
    reliability,
)

LAYOUT = Layout(features=(SensitiveFeature(name="sex", groups=("Female", "Male")),))
MANY = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@st.composite
def people(draw, least=2):
    size = draw(st.integers(least, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sex = rng.choice(2, size, p=(0.4, 0.6))
    labels = (rng.random(size) < draw(st.sampled_from([0.2, 0.5]))).astype(int)
    # In the middle of bins, where what the bins certify is what the scores say.
    scores = (np.floor(np.clip(rng.normal(0.35 + 0.2 * labels, 0.3), 0, 0.999) * 64) + 0.5) / 64
    return sex, labels, scores


def aif360(sex, labels, scores):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pandas as pd
        from aif360.datasets import BinaryLabelDataset
        from aif360.metrics import ClassificationMetric

        frame = pd.DataFrame({"sex": sex.astype(float), "y": labels.astype(float)})
        truth = BinaryLabelDataset(df=frame, label_names=["y"], protected_attribute_names=["sex"])
        said = truth.copy()
        said.labels = (scores >= 0.5).astype(float).reshape(-1, 1)
        return ClassificationMetric(
            truth, said, unprivileged_groups=[{"sex": 0}], privileged_groups=[{"sex": 1}]
        )


@MANY
@given(data=people(least=8))
def test_rates_and_inequality_are_aif360s(data, from_records):
    sex, labels, scores = data
    assume(all(set(labels[sex == group]) == {0, 1} for group in (0, 1)))
    predicted = scores >= 0.5
    assume(all(0 < predicted[sex == group].mean() < 1 for group in (0, 1)))
    tables = from_records(LAYOUT, sex.reshape(-1, 1), labels, scores)
    theirs = aif360(sex, labels, scores)

    def gap(name):
        return aggregate(tables, name, feature="sex", minimum_cell=0).value

    for ours, expected in {
        "demographic_parity_difference": abs(theirs.statistical_parity_difference()),
        "equal_opportunity_difference": abs(theirs.equal_opportunity_difference()),
        "false_positive_rate_difference": abs(theirs.false_positive_rate_difference()),
        "false_negative_rate_difference": abs(theirs.false_negative_rate_difference()),
        "false_discovery_rate_difference": abs(theirs.false_discovery_rate_difference()),
        "false_omission_rate_difference": abs(theirs.false_omission_rate_difference()),
        "zero_one_loss_difference": abs(theirs.error_rate_difference()),
        "average_abs_odds_difference": theirs.average_abs_odds_difference(),
        "demographic_parity_ratio": min(theirs.disparate_impact(), 1 / theirs.disparate_impact()),
        "between_all_groups_generalized_entropy_index": (
            theirs.between_all_groups_generalized_entropy_index()
        ),
        "between_all_groups_theil_index": theirs.between_all_groups_theil_index(),
        "between_all_groups_coefficient_of_variation": (
            theirs.between_all_groups_coefficient_of_variation()
        ),
    }.items():
        found = gap(ours)
        if ours.endswith("coefficient_of_variation"):
            # A root of an entropy that rounding left at +-1e-16 is 1e-8, or not a number.
            found, expected = found**2, np.nan_to_num(expected) ** 2
        assert found == pytest.approx(expected, abs=1e-9), ours
    for ours, expected in {
        "generalized_entropy_index": theirs.generalized_entropy_index(),
        "theil_index": theirs.theil_index(),
        "coefficient_of_variation": theirs.coefficient_of_variation(),
        "base_rate": theirs.base_rate(),
        "negative_predictive_value": theirs.negative_predictive_value(),
    }.items():
        assert overall(tables, ours).value == pytest.approx(expected, abs=1e-9), ours


@MANY
@given(data=people(), shift=st.floats(-0.49, 0.49))
def test_score_means_are_sklearns_within_what_the_bins_certify(data, shift, from_records):
    sex, labels, middles = data
    scores = middles + shift / 64
    tables = from_records(LAYOUT, sex.reshape(-1, 1), labels, scores)
    exact = from_records(LAYOUT, sex.reshape(-1, 1), labels, middles)
    for name, oracle in {
        "mean_prediction": lambda y, s: float(s.mean()),
        "mean_absolute_error": skm.mean_absolute_error,
        "mean_squared_error": skm.brier_score_loss,
    }.items():
        estimate = overall(tables, name)
        assert overall(exact, name).value == pytest.approx(oracle(labels, middles), abs=1e-12)
        assert estimate.value == pytest.approx(oracle(labels, scores), abs=1 / 64)
        assert estimate.low <= oracle(labels, scores) <= estimate.high


@MANY
@given(data=people())
def test_the_calibration_error_is_what_a_loop_over_records_gives(data, from_records):
    sex, labels, scores = data
    tables = from_records(LAYOUT, sex.reshape(-1, 1), labels, scores)
    found = by_group(tables, "expected_calibration_error", feature="sex", minimum_cell=0)
    for group, name in enumerate(("Female", "Male")):
        own = sex == group
        assume(own.any())
        expected = 0.0
        for low in np.arange(8) / 8:  # 64 bins make 8 coarse ones
            inside = own & (scores >= low) & (scores < low + 1 / 8)
            if inside.any():
                expected += inside.sum() * abs(labels[inside].mean() - scores[inside].mean())
        estimate = found[name].estimate
        assert estimate.value == pytest.approx(expected / own.sum(), abs=1e-12)
        assert estimate.low <= estimate.value <= estimate.high


@MANY
@given(data=people(least=10))
def test_subgroup_areas_are_sklearns_on_the_crossed_records(data, from_records):
    sex, labels, scores = data
    assume(all(set(labels[sex == group]) == {0, 1} for group in (0, 1)))
    tables = from_records(LAYOUT, sex.reshape(-1, 1), labels, scores)
    for name, own_label in (("bpsn_auc", 0), ("bnsp_auc", 1)):
        found = by_group(tables, name, feature="sex", minimum_cell=0)
        for group, words in enumerate(("Female", "Male")):
            chosen = ((sex == group) & (labels == own_label)) | (
                (sex != group) & (labels != own_label)
            )
            expected = skm.roc_auc_score(labels[chosen], scores[chosen])
            estimate = found[words].estimate
            assert estimate.value == pytest.approx(expected, abs=1e-12)
            assert estimate.low <= expected <= estimate.high


def noisy_tables(rng, sizes, variance, *, positive=0.4, found=0.7, alarm=0.2):
    groups = tuple(f"g{i}" for i in range(len(sizes)))
    layout = Layout(features=(SensitiveFeature(name="f", groups=groups),))
    counts = np.zeros((len(sizes), 2, 2), dtype=np.int64)
    histogram = np.zeros((len(sizes), 2, 64), dtype=np.int64)
    for index, size in enumerate(sizes):
        labels = rng.random(size) < positive
        bins = np.clip(rng.normal(np.where(labels, 40, 24), 12, size).astype(int), 0, 63)
        hit = rng.random(size) < np.where(labels, found, alarm)
        bins = bins // 2 + 32 * hit  # the threshold of one half decides
        for label in (0, 1):
            histogram[index, label] = np.bincount(bins[labels == label], minlength=64)
        for label, said in ((0, 0), (0, 1), (1, 0), (1, 1)):
            counts[index, label, said] = ((labels == label) & (hit == said)).sum()

    def noise(shape):
        return rng.poisson(variance / 2, shape) - rng.poisson(variance / 2, shape)

    return Tables.from_vector(
        np.concatenate(
            [
                (counts + noise(counts.shape)).ravel(),
                (histogram + noise(histogram.shape)).ravel(),
            ]
        ),
        layout=layout,
        counts_variance=variance,
        histogram_variance=variance,
        sites=3,
    )


def population(metric):
    """The value in an endless population of `noisy_tables`, by a large sample."""
    rng = np.random.default_rng(7)
    layout_of_one = noisy_tables(rng, [2_000_000], 1e-300)
    return by_group(layout_of_one, metric, feature="f")["g0"].estimate.value


@pytest.mark.parametrize("variance", [1e-300, 2.0, 200.0])
@pytest.mark.parametrize("size", [50, 200, 1000])
@pytest.mark.parametrize(
    "metric",
    [
        "mean_prediction",
        "mean_squared_error",
        "theil_index",
        "generalized_entropy_index",
        "false_discovery_rate",
    ],
)
def test_the_new_intervals_cover(metric, size, variance):
    rng = np.random.default_rng([size, int(variance), len(metric)])
    truth = population(metric)
    found = by_group(noisy_tables(rng, [size] * 400, variance), metric, feature="f", minimum_cell=0)
    estimates = [each.estimate for each in found.values()]
    covered = np.mean([each.low <= truth <= each.high for each in estimates])
    assert covered >= 0.925, covered  # 0.93 less two standard errors of 400 draws is 0.904


@pytest.mark.parametrize("variance", [1e-300, 2.0, 200.0])
def test_inequality_between_equal_groups_is_covered_and_not_taken_for_real(variance):
    rng = np.random.default_rng([3, int(variance)])
    covered = []
    for _ in range(200):
        tables = noisy_tables(rng, [100, 200, 400], variance)
        name = "between_all_groups_generalized_entropy_index"
        estimate = aggregate(tables, name, feature="f")
        covered.append(estimate.low <= 0.0 <= estimate.high)
    assert np.mean(covered) >= 0.93


def test_a_reliability_diagram_has_the_rates_of_its_bins(from_records):
    rng = np.random.default_rng(1)
    sex, labels = rng.integers(0, 2, 500), rng.integers(0, 2, 500)
    scores = rng.random(500)
    tables = from_records(LAYOUT, sex.reshape(-1, 1), labels, scores)
    diagram = reliability(tables, feature="sex", group="Male")
    for score, rate, low, high in zip(
        diagram.score, diagram.rate, diagram.low, diagram.high, strict=True
    ):
        inside = (sex == 1) & (np.floor(scores * 8) == np.floor(score * 8))
        assert rate == pytest.approx(labels[inside].mean())
        assert score == pytest.approx(scores[inside].mean(), abs=diagram.slack)
        assert low <= rate <= high


def test_what_no_bin_can_bound_is_refused_by_name():
    with pytest.raises(FairnessError, match="no bound that score bins could certify"):
        find_metric("log_loss")
