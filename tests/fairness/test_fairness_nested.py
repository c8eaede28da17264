"""Counts by feature and two nested score blocks: what each holds, and what is refused by name."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedethics.errors import FairnessError
from fedethics.fairness import (
    Layout,
    SensitiveFeature,
    Tables,
    aggregate,
    by_group,
    overall,
    reliability,
    roc,
    tabulate,
)
from fedethics.fairness.partition import by_feature, everyone
from fedethics.release.sections.groups import features

SEX = SensitiveFeature(name="sex", groups=("Female", "Male"))
AGE = SensitiveFeature(name="age", groups=("young", "middle", "old"))
AREA = SensitiveFeature(name="area", groups=("town", "country"))
LAYOUT = Layout(
    features=(SEX, AGE, AREA),
    threshold=50 / 64,
    histogram_by=("sex",),
    counted_by=(("sex", "area"), ("age",)),
    nested=True,
)


def records(rng, size):
    groups = np.column_stack([rng.integers(0, n, size) for n in (2, 3, 2)])
    labels = (rng.random(size) < 0.4).astype(int)
    # On edges too: of the coarse bins, of the fine ones, and at both ends.
    scores = np.where(rng.random(size) < 0.3, rng.integers(0, 65, size) / 64, rng.random(size))
    return groups, labels, scores


def exact(vector, layout=LAYOUT):
    return Tables.from_vector(
        vector, layout=layout, counts_variance=0, histogram_variance=0, sites=3
    )


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(0, 80))
def test_blocks_are_those_of_a_loop_over_records(seed, size):
    groups, labels, scores = records(np.random.default_rng(seed), size)
    vector = tabulate(LAYOUT, groups=groups, labels=labels, scores=scores)
    by_two, by_age = np.zeros((2, 2, 2, 2), int), np.zeros((3, 2, 2), int)
    coarse, fine = np.zeros((2, 2, 9), int), np.zeros((2, 64), int)
    edges = [0, 1 / 8, 2 / 8, 3 / 8, 4 / 8, 5 / 8, 6 / 8, 50 / 64, 7 / 8]
    for (sex, age, area), label, score in zip(groups, labels, scores, strict=True):
        decided = int(score >= 50 / 64)
        by_two[sex, area, label, decided] += 1
        by_age[age, label, decided] += 1
        coarse[sex, label, sum(score >= edge for edge in edges) - 1] += 1
        fine[label, min(int(score * 64), 63)] += 1
    told = np.concatenate([each.ravel() for each in (by_two, by_age, coarse, fine)])
    assert np.array_equal(vector, told)
    assert len(told) == LAYOUT.length


def test_one_record_moves_one_entry_of_each_block_by_one():
    groups, labels, scores = records(np.random.default_rng(1), 40)
    whole = tabulate(LAYOUT, groups=groups, labels=labels, scores=scores)
    for gone in range(40):
        keep = np.arange(40) != gone
        less = tabulate(LAYOUT, groups=groups[keep], labels=labels[keep], scores=scores[keep])
        assert sorted(whole - less)[-4:] == [1, 1, 1, 1] and (whole - less).sum() == 4


def test_without_noise_every_figure_is_that_of_the_cross_product():
    groups, labels, scores = records(np.random.default_rng(2), 900)
    plain = dataclasses.replace(LAYOUT, counted_by=None, nested=False)
    nested, crossed = (
        exact(tabulate(layout, groups=groups, labels=labels, scores=scores), layout)
        for layout in (LAYOUT, plain)
    )
    for metric in ("accuracy_score", "roc_auc_score", "mean_prediction", "selection_rate"):
        assert overall(nested, metric) == overall(crossed, metric)
    for feature in ("sex", "age", "area", "sex*area", "area*sex"):
        for metric in ("equalized_odds_difference", "accuracy_score_group_min"):
            assert aggregate(nested, metric, feature=feature) == aggregate(
                crossed, metric, feature=feature
            )
    assert roc(nested).auc == roc(crossed).auc
    assert np.array_equal(roc(nested).tpr, roc(crossed).tpr)
    ours, theirs = reliability(nested), reliability(crossed)
    assert ours is not None and theirs is not None
    assert np.array_equal(ours.rate, theirs.rate)
    # A group's scores are in the coarse bins: its area is known to within them.
    for name, area in by_group(nested, "roc_auc_score", feature="sex").items():
        finer = by_group(crossed, "roc_auc_score", feature="sex")[name].estimate
        assert area.estimate.low <= finer.value <= area.estimate.high


def test_an_intersection_that_no_block_counts_is_refused_by_name():
    tables = exact(np.zeros(LAYOUT.length, dtype=np.int64))
    with pytest.raises(FairnessError, match=r"'sex\*age'.*objective of the charter names"):
        by_feature(tables, "sex*age")
    with pytest.raises(FairnessError, match="histogram-by"):
        _ = by_feature(tables, "age").scores


def test_blocks_that_hold_the_same_people_are_averaged_by_their_noise():
    layout = dataclasses.replace(LAYOUT, features=(SEX, AGE), counted_by=(("sex",), ("age",)))
    people, seen = np.zeros(layout.length, dtype=np.int64), []
    rng = np.random.default_rng(3)
    for _ in range(800):
        noise = rng.poisson(10.0, people.shape) - rng.poisson(10.0, people.shape)
        tables = Tables.from_vector(
            people + noise, layout=layout, counts_variance=20, histogram_variance=20, sites=3
        )
        seen.append(everyone(tables).counts[0, 0, 0])
    assert everyone(tables).counts_variance == pytest.approx(20 / (1 / 2 + 1 / 3))
    assert np.var(seen) == pytest.approx(24.0, rel=0.15)
    assert by_feature(tables, "sex").counts_variance == 20


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"counted_by": (("sex",), ("age",))}, "no count block holds the feature area"),
        ({"counted_by": (("sex", "shoe"), ("age",), ("area",))}, "'shoe' is not declared"),
        ({"bins": 100, "threshold": 0.5}, "do not nest"),
        ({"threshold": 0.51}, "do not nest"),
    ],
)
def test_a_layout_that_does_not_fit_is_refused(changes, told):
    with pytest.raises(FairnessError, match=told):
        dataclasses.replace(LAYOUT, **changes)


def test_blocks_without_noise_that_disagree_are_refused():
    groups, labels, scores = records(np.random.default_rng(4), 30)
    vector = tabulate(LAYOUT, groups=groups, labels=labels, scores=scores)
    for place in (0, LAYOUT.counts_length - 1, LAYOUT.counts_length, LAYOUT.length - 1):
        wrong = vector.copy()
        wrong[place] += 1
        with pytest.raises(FairnessError, match="different numbers of records"):
            exact(wrong)


@pytest.mark.parametrize(
    ("counted_by", "shown"),
    [
        ((("sex",), ("age",), ("area",)), ("sex", "age", "area")),
        ((("sex", "area"), ("age",)), ("sex", "age", "area")),
        ((("sex", "age", "area"),), ("sex", "age", "area", "sex*age*area")),
        (None, ("sex", "age", "area", "sex*age*area")),
    ],
)
def test_a_report_shows_the_intersection_of_all_only_where_it_was_counted(counted_by, shown):
    layout = dataclasses.replace(LAYOUT, counted_by=counted_by)
    groups, labels, scores = records(np.random.default_rng(2), 60)
    tables = exact(tabulate(layout, groups=groups, labels=labels, scores=scores), layout)
    assert features(tables) == shown
    for name in shown:
        assert by_group(tables, "accuracy_score", feature=name)
