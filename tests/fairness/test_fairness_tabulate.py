"""A site's vector is a plain count of its records, and bad records stop it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedethics.errors import FairnessError
from fedethics.fairness import Layout, SensitiveFeature, Tables, tabulate, tabulate_progress


def by_hand(layout, groups, labels, scores):
    counts = np.zeros((layout.num_cells, 2, 2), dtype=int)
    histogram = np.zeros((layout.num_cells, 2, layout.bins), dtype=int)
    for (sex, age), label, score in zip(groups, labels, scores, strict=True):
        cell = sex * 3 + age
        counts[cell, label, int(score >= layout.threshold)] += 1
        inside = [b for b in range(layout.bins) if b / layout.bins <= score]
        histogram[cell, label, inside[-1]] += 1
    return np.concatenate([counts.ravel(), histogram.ravel()])


@given(seed=st.integers(0, 2**32 - 1), bins=st.sampled_from([64, 100, 256]))
def test_the_vector_is_what_counting_by_hand_gives(seed, bins, two_features):
    rng = np.random.default_rng(seed)
    layout = Layout(features=two_features.features, bins=bins, threshold=0.29)
    size = int(rng.integers(0, 30))
    groups = np.column_stack([rng.integers(0, 2, size), rng.integers(0, 3, size)])
    labels = rng.integers(0, 2, size)
    # Many scores on bin edges, on the threshold and at both ends.
    scores = rng.choice([0.0, 0.29, 0.5, 1.0, 29 / 100, 7 / 64, 0.7319], size)
    vector = tabulate(layout, groups=groups, labels=labels, scores=scores)
    assert vector.dtype == np.int64
    assert np.array_equal(vector, by_hand(layout, groups, labels, scores))


def test_one_more_record_changes_one_entry_of_each_block(two_features):
    rng = np.random.default_rng(0)
    groups = np.column_stack([rng.integers(0, 2, 40), rng.integers(0, 3, 40)])
    labels, scores = rng.integers(0, 2, 40), rng.random(40)
    whole = tabulate(two_features, groups=groups, labels=labels, scores=scores)
    less = tabulate(two_features, groups=groups[1:], labels=labels[1:], scores=scores[1:])
    change = whole - less
    cut = two_features.counts_length
    assert sorted(change[:cut]) == [0] * (cut - 1) + [1]
    assert sorted(change[cut:]) == [0] * (two_features.histogram_length - 1) + [1]
    pair = [tabulate_progress(two_features, labels=labels[i:], scores=scores[i:]) for i in (0, 1)]
    assert np.abs(pair[0] - pair[1]).sum() == 1


def test_progress_counts_are_the_counts_without_groups(two_features):
    rng = np.random.default_rng(1)
    groups = np.column_stack([rng.integers(0, 2, 99), rng.integers(0, 3, 99)])
    labels, scores = rng.integers(0, 2, 99), rng.random(99)
    vector = tabulate(two_features, groups=groups, labels=labels, scores=scores)
    counts = vector[: two_features.counts_length].reshape(-1, 4).sum(axis=0)
    light = tabulate_progress(two_features, labels=labels, scores=scores)
    assert np.array_equal(light, counts)
    assert light.shape == (two_features.progress_length,)


GOOD = {"groups": [[0, 0], [1, 2]], "labels": [0, 1], "scores": [0.1, 0.9]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"scores": [0.1, float("nan")]}, "1 of 2 scores are not a number"),
        ({"scores": [0.1, 1.01]}, "1 of 2 scores are outside"),
        ({"scores": [-0.5, float("inf")]}, "2 of 2 scores are outside"),
        ({"labels": [0, 2]}, "1 of 2 labels"),
        ({"groups": [[0, 0], [1, 3]]}, "'age'"),
        ({"groups": [[-1, 0], [1, 0]]}, "'sex'"),
        ({"groups": [[0.0, 0.0], [1.0, 1.0]]}, "integers"),
        ({"groups": [[0], [1]]}, "(2, 2)"),
        ({"scores": [0.1]}, "shape"),
    ],
)
def test_a_bad_record_stops_the_tabulation_and_is_not_quoted(change, says, two_features):
    with pytest.raises(FairnessError) as caught:
        tabulate(two_features, **(GOOD | change))
    assert says in str(caught.value)
    assert "1.01" not in str(caught.value)


def test_a_layout_states_its_lengths(two_features):
    assert (two_features.num_cells, two_features.counts_length) == (6, 24)
    assert two_features.histogram_length == 6 * 2 * 64
    assert two_features.length == 24 + 768


@pytest.mark.parametrize(
    "make",
    [
        lambda: Layout(features=(SensitiveFeature(name="a", groups=("x",)),), bins=63),
        lambda: Layout(features=(SensitiveFeature(name="a", groups=("x",)),), threshold=1.5),
        lambda: Layout(features=(SensitiveFeature(name="a", groups=("x",)),) * 2),
        lambda: SensitiveFeature(name="a", groups=()),
        lambda: SensitiveFeature(name="a", groups=("x", "x")),
        lambda: SensitiveFeature(name="a*b", groups=("x",)),
        lambda: SensitiveFeature(name="a", groups=(" ",)),
    ],
)
def test_a_layout_that_means_nothing_is_refused(make):
    with pytest.raises(FairnessError):
        make()


def test_without_groups_there_is_one_cell_for_everyone():
    layout = Layout(features=())
    assert (layout.num_cells, layout.counts_length) == (1, 4)


def test_sums_that_no_records_can_give_are_refused(two_features):
    terms = {"layout": two_features, "counts_variance": 0, "histogram_variance": 0, "sites": 3}
    vector = tabulate(two_features, **GOOD)
    Tables.from_vector(vector, **terms)
    moved = vector.copy()
    moved[0] += 1
    for bad, changes, says in (
        (vector[:-1], {}, "shape"),
        (vector.astype(float), {}, "integers"),
        (vector - 1, {}, "negative"),
        (moved, {}, "different numbers of records"),
        (vector, {"counts_variance": -1.0}, "variances"),
        (vector, {"histogram_variance": float("nan")}, "variances"),
        (vector, {"sites": 0}, "0 sites"),
    ):
        with pytest.raises(FairnessError, match=says):
            Tables.from_vector(bad, **(terms | changes))
    # With noise the same numbers are legitimate.
    Tables.from_vector(vector - 1, **(terms | {"counts_variance": 2, "histogram_variance": 2}))
