"""Areas and curves from summed bins, against scikit-learn on the records themselves."""

import numpy as np
import pytest
import sklearn.metrics as skm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from fedethics.errors import FairnessError
from fedethics.fairness import (
    Layout,
    SensitiveFeature,
    Tables,
    aggregate,
    by_group,
    overall,
    roc,
    tabulate,
)


def sample(rng, size, *, apart=1.0, base=0.4):
    labels = (rng.random(size) < base).astype(int)
    labels[:2] = 0, 1
    return labels, norm.cdf(rng.normal(size=size) + apart * (labels - 0.5))


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), bins=st.sampled_from([64, 256]))
def test_the_exact_area_lies_within_what_the_bins_certify(seed, bins, two_features, from_records):
    rng = np.random.default_rng(seed)
    layout = Layout(features=two_features.features, bins=bins)
    size = int(rng.integers(2, 200))
    labels, scores = sample(rng, size)
    groups = np.column_stack([rng.integers(0, 2, size), rng.integers(0, 3, size)])
    curve = roc(from_records(layout, groups, labels, scores))
    exact = skm.roc_auc_score(labels, scores)
    assert curve.auc_bins_low - 1e-12 <= exact <= curve.auc_bins_high + 1e-12
    assert curve.auc_bins_low <= curve.auc.value <= curve.auc_bins_high
    assert curve.auc.low <= curve.auc_bins_low and curve.auc_bins_high <= curve.auc.high
    # Scores that are constant within bins leave nothing open.
    centre = (np.minimum(np.floor(scores * bins), bins - 1) + 0.5) / bins
    tied = roc(from_records(layout, groups, labels, centre)).auc.value
    assert tied == pytest.approx(skm.roc_auc_score(labels, centre), abs=1e-12)


def test_the_curve_passes_through_the_exact_rates_at_bin_edges(two_features, from_records):
    rng = np.random.default_rng(0)
    labels, scores = sample(rng, 500)
    groups = np.column_stack([rng.integers(0, 2, 500), rng.integers(0, 3, 500)])
    tables = from_records(two_features, groups, labels, scores)
    curve = roc(tables, feature="sex", group="Male")
    at = groups[:, 0] == 1
    edges = np.arange(64, -1, -1) / 64
    for rate, label in ((curve.tpr, 1), (curve.fpr, 0)):
        exact = [(scores[at & (labels == label)] >= edge).mean() for edge in edges]
        assert rate == pytest.approx(exact, abs=1e-12)
    everyone = roc(tables)
    assert everyone.auc == overall(tables, "roc_auc_score")


def test_group_areas_and_their_lowest_are_within_the_bins_of_sklearns(two_features, from_records):
    rng = np.random.default_rng(1)
    labels, scores = sample(rng, 3000)
    groups = np.column_stack([rng.integers(0, 2, 3000), rng.integers(0, 3, 3000)])
    tables = from_records(two_features, groups, labels, scores)
    areas = by_group(tables, "roc_auc_score", feature="age")
    exact = [
        skm.roc_auc_score(labels[groups[:, 1] == g], scores[groups[:, 1] == g]) for g in range(3)
    ]
    assert [a.estimate.value for a in areas.values()] == pytest.approx(exact, abs=0.003)
    lowest = aggregate(tables, "roc_auc_score_group_min", feature="age")
    assert lowest.value == min(a.estimate.value for a in areas.values())
    assert lowest.low <= min(exact) <= lowest.high


def test_one_class_alone_has_no_area_and_no_curve(two_features, from_records):
    tables = from_records(two_features, np.zeros((20, 2), int), np.ones(20, int), np.ones(20))
    curve = roc(tables)
    assert np.isnan(curve.auc.value) and (curve.auc.low, curve.auc.high) == (0.0, 1.0)
    assert curve.fpr.size == curve.tpr.size == 0


def test_a_noisy_curve_rises_from_corner_to_corner(two_features):
    rng = np.random.default_rng(2)
    labels, scores = sample(rng, 400)
    groups = np.column_stack([rng.integers(0, 2, 400), rng.integers(0, 3, 400)])
    vector = tabulate(two_features, groups=groups, labels=labels, scores=scores)
    tables = noisy(vector, two_features, 3.0, rng)
    curve = roc(tables)
    for rate in (curve.fpr, curve.tpr):
        assert (rate[0], rate[-1]) == (0.0, 1.0)
        assert (np.diff(rate) >= 0).all()


@pytest.mark.parametrize(
    ("feature", "group"), [("sex", None), (None, "Male"), ("sex", "young"), ("race", "x")]
)
def test_a_curve_of_a_group_that_was_not_declared_is_refused(
    feature, group, two_features, from_records
):
    tables = from_records(two_features, np.zeros((2, 2), int), [0, 1], [0.1, 0.9])
    with pytest.raises(FairnessError):
        roc(tables, feature=feature, group=group)


def noisy(vector, layout, variance, rng):
    noise = rng.poisson(variance / 2, vector.shape) - rng.poisson(variance / 2, vector.shape)
    return Tables.from_vector(
        vector + (noise if variance else 0),
        layout=layout,
        counts_variance=variance,
        histogram_variance=variance,
        sites=3,
    )


ONE = Layout(features=(SensitiveFeature(name="all", groups=("all",)),))


def area_coverage(*, size, base, spread, variance, replicates):
    """Binormal scores; positives have `spread` times the negatives' standard deviation."""
    rng = np.random.default_rng(size)
    truth = norm.cdf(1.0 / np.hypot(1.0, spread))
    hits = 0
    for _ in range(replicates):
        labels = (rng.random(size) < base).astype(int)
        scores = norm.cdf(rng.normal(size=size) * np.where(labels, spread, 1.0) + labels - 0.5)
        vector = tabulate(ONE, groups=np.zeros((size, 1), int), labels=labels, scores=scores)
        got = overall(noisy(vector, ONE, variance, rng), "roc_auc_score")
        hits += got.low <= truth <= got.high
    return hits / replicates


@pytest.mark.parametrize(("variance", "size"), [(0.0, 200), (20.0, 1000)])
def test_areas_are_covered(variance, size):
    got = area_coverage(size=size, base=0.3, spread=2.0, variance=variance, replicates=500)
    assert got >= 0.93


@pytest.mark.slow
@pytest.mark.parametrize("variance", [0.0, 2.0, 200.0])
@pytest.mark.parametrize(("size", "base"), [(50, 0.5), (200, 0.2), (1000, 0.3)])
@pytest.mark.parametrize("spread", [0.5, 1.0, 2.0])
def test_areas_are_covered_over_the_grid(variance, size, base, spread):
    got = area_coverage(size=size, base=base, spread=spread, variance=variance, replicates=1000)
    assert got >= 0.93
