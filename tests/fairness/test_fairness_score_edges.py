"""Bins that are finest around a score: cuts, nesting, and every figure against a loop."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, roc_auc_score

from fedethics.errors import FairnessError
from fedethics.fairness import (
    Layout,
    SensitiveFeature,
    Tables,
    by_group,
    fine_edges,
    overall,
    reliability,
    roc,
    tabulate,
)
from fedethics.fairness.classes import Classes
from fedethics.fairness.mitigation.thresholds import group_thresholds
from fedethics.fairness.score_edges import coarse_edges

SEX = SensitiveFeature(name="sex", groups=("Female", "Male"))
inside = st.floats(0.001, 0.999)


def layout(bins=64, threshold=0.78, finest_at=0.95, nested=True):
    return Layout(
        features=(SEX,), bins=bins, threshold=threshold, finest_at=finest_at, nested=nested
    )


def crowded(rng, size, *, at=0.95, spread=0.1):
    """Return groups, labels and scores that crowd around `at`; one in twenty lies on an edge."""
    labels = (rng.random(size) < 0.7).astype(int)
    logits = np.log(at / (1 - at)) + spread * (rng.normal(size=size) + labels)
    scores = 1 / (1 + np.exp(-logits))
    edges = np.array(fine_edges(64, threshold=0.78, finest_at=0.95))
    scores = np.where(rng.random(size) < 0.05, rng.choice(edges, size), scores)
    return rng.integers(0, 2, (size, 1)), labels, scores


def exact(shape, people):
    vector = tabulate(shape, groups=people[0], labels=people[1], scores=people[2])
    return Tables.from_vector(
        vector, layout=shape, counts_variance=0, histogram_variance=0, sites=3
    )


@given(bins=st.sampled_from((64, 128, 256, 1024)), threshold=inside, centre=inside)
def test_cuts_rise_from_0_to_1_and_coarse_ones_and_the_threshold_are_among_them(
    bins, threshold, centre
):
    fine = fine_edges(bins, threshold=threshold, finest_at=centre)
    coarse = coarse_edges(bins, threshold=threshold, finest_at=centre)
    assert len(fine) == bins + 1 and (fine[0], fine[-1]) == (0.0, 1.0)
    assert np.diff(fine).min() > 0
    assert threshold in coarse and set(coarse) <= set(fine)
    assert 9 <= len(coarse) <= 10


def test_without_a_centre_widths_are_equal_and_around_one_half_they_are_as_well():
    plain = fine_edges(64, threshold=0.5)
    assert plain == tuple(np.arange(65) / 64)
    assert np.allclose(fine_edges(64, threshold=0.5, finest_at=0.5), plain, atol=1e-15)


@pytest.mark.parametrize("centre", [0.03, 0.5, 0.95])
def test_cuts_are_even_in_the_logit_less_that_of_the_centre(centre):
    fine = np.array(fine_edges(256, threshold=centre, finest_at=centre))[1:-1]
    even = np.arange(1, 256) / 256
    odds = np.log(fine / (1 - fine)) - np.log(centre / (1 - centre))
    assert np.allclose(odds, np.log(even / (1 - even)), atol=1e-9)
    # The widest resolution is at the centre, and it is what the docstring says.
    assert np.diff(fine)[127] == pytest.approx(4 * centre * (1 - centre) / 256, rel=0.02)


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(0, 60),
    nested=st.booleans(),
    threshold=st.sampled_from((0.5, 0.78, 0.951)),
)
def test_score_blocks_are_those_of_a_loop_over_records(seed, size, nested, threshold):
    shape = layout(threshold=threshold, nested=nested)
    groups, labels, scores = crowded(np.random.default_rng(seed), size)
    vector = tabulate(shape, groups=groups, labels=labels, scores=scores)
    crossed = np.zeros((2, 2, len(shape.coarse_edges) - 1), int)
    fine = np.zeros((2, 64), int)
    for (sex,), label, score in zip(groups, labels, scores, strict=True):
        crossed[sex, label, sum(score >= edge for edge in shape.coarse_edges[:-1]) - 1] += 1
        fine[label, sum(score >= edge for edge in shape.fine_edges[:-1]) - 1] += 1
    blocks = [crossed, fine] if nested else [crossed]
    assert np.array_equal(
        vector[shape.counts_length :], np.concatenate([b.ravel() for b in blocks])
    )


def test_without_noise_limits_hold_the_value_of_the_scores_themselves():
    people = crowded(np.random.default_rng(3), 3000)
    _, labels, scores = people
    areas = {}
    for centre in (None, 0.95):
        tables = exact(layout(threshold=50 / 64, finest_at=centre), people)
        curve = roc(tables)
        assert curve.auc_bins_low <= roc_auc_score(labels, scores) <= curve.auc_bins_high
        brier = overall(tables, "mean_squared_error")
        assert brier.low <= brier_score_loss(labels, scores) <= brier.high
        areas[centre] = curve.auc_bins_high - curve.auc_bins_low
        # The share of positives among those selected does not depend on where other cuts are.
        chosen = scores >= 50 / 64
        assert overall(tables, "precision_score").value == pytest.approx(labels[chosen].mean())
        diagram = reliability(tables)
        assert diagram is not None and diagram.people.sum() == len(labels)
        edges = np.array(tables.layout.fine_edges)[:: 64 // 8]
        bins = np.minimum(np.searchsorted(edges, scores, side="right") - 1, 7)
        there = np.unique(bins)
        assert np.allclose(diagram.rate, [labels[bins == one].mean() for one in there])
        means = np.array([scores[bins == one].mean() for one in there])
        assert (np.abs(diagram.score - means) <= diagram.slack).all()
    # Where the scores crowd the certified width shrinks several times.
    assert areas[0.95] < areas[None] / 3


def test_a_groups_area_lies_within_the_limits_of_its_coarse_bins():
    people = crowded(np.random.default_rng(4), 2000, spread=0.5)
    tables = exact(layout(), people)
    for number, name in enumerate(SEX.groups):
        mine = people[0][:, 0] == number
        told = by_group(tables, "roc_auc_score", feature="sex")[name].estimate
        assert told.low <= roc_auc_score(people[1][mine], people[2][mine]) <= told.high


def test_group_thresholds_are_cuts_of_these_bins():
    people = crowded(np.random.default_rng(5), 4000, spread=0.6)
    people[2][people[0][:, 0] == 0] **= 1.4
    shape = layout(nested=False)
    plan = group_thresholds(exact(shape, people), feature="sex", slack=0.02)
    used = {edge for group in plan.groups for edge in group.thresholds}
    assert used <= set(shape.fine_edges)
    assert plan.gap_after < plan.gap_before


def test_the_planner_draws_scores_into_these_bins():
    from fedethics.foresight.draws import Drawing
    from fedethics.foresight.population import population

    selected = np.full((2, 2), [0.3, 0.75])
    areas = []
    for shape in (layout(bins=1024, threshold=0.75, finest_at=None), layout(bins=1024)):
        people = population(shape, records=1000, groups={})
        areas.append(roc(Drawing.of(shape, sites=3).expected(people, selected)).auc.value)
    assert areas[0] == pytest.approx(areas[1], abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("records", [300, 2000])
@pytest.mark.parametrize("variance", [0.0, 5.0, 60.0])
def test_the_area_is_covered_where_scores_crowd_off_the_centre(records, variance):
    """Positives lie one spread above negatives, so the true area is Phi(1 / sqrt 2)."""
    rng = np.random.default_rng([records, int(variance)])
    shape, truth, held = layout(bins=256, threshold=0.78, finest_at=0.9), 0.760250, 0
    for _ in range(300):
        groups, labels, _ = crowded(rng, records)
        logits = np.log(0.95 / 0.05) + 0.1 * (rng.normal(size=records) + labels)
        scores = 1 / (1 + np.exp(-logits))
        vector = tabulate(shape, groups=groups, labels=labels, scores=scores)
        half = np.full(vector.shape, variance / 2)
        tables = Tables.from_vector(
            vector + rng.poisson(half) - rng.poisson(half),
            layout=shape,
            counts_variance=variance,
            histogram_variance=variance,
            sites=3,
        )
        told = overall(tables, "roc_auc_score")
        held += told.low <= truth <= told.high
    assert held / 300 >= 0.93


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"finest_at": 1.0}, "between 0 and 1"),
        ({"threshold": 0.0}, "between 0 and 1"),
        ({"bins": 100}, "do not nest"),
        ({"measured": Classes(("a", "b", "c"))}, "a threshold decides"),
    ],
)
def test_bins_that_cannot_be_cut_so_are_refused(changes, told):
    with pytest.raises(FairnessError, match=told):
        dataclasses.replace(layout(), **changes)
