"""Small groups are withheld, and cannot be had by subtraction."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedethics.errors import FairnessError
from fedethics.fairness import (
    Layout,
    Objective,
    SensitiveFeature,
    Tables,
    aggregate,
    by_group,
    judge,
    roc,
    tabulate,
)
from fedethics.fairness.partition import Partition, suppressed_groups


def sized(sizes, *, variance=0.0):
    sizes = np.asarray(sizes)
    counts = np.zeros((sizes.size, 2, 2))
    counts[:, 0, 0] = sizes.ravel()
    return Partition(
        groups=tuple(str(i) for i in range(sizes.size)),
        shape=sizes.shape,
        counts=counts,
        histogram=np.zeros((sizes.size, 2, 64)),
        counts_variance=variance,
        histogram_variance=variance,
    )


def hidden(sizes, *, variance=0.0, minimum=11):
    got = suppressed_groups(sized(sizes, variance=variance), minimum_cell=minimum)
    return got.reshape(np.shape(sizes)).astype(int).tolist()


def test_a_small_group_takes_the_next_smallest_with_it():
    assert hidden([500, 10, 40, 90]) == [0, 1, 1, 0]
    assert hidden([500, 11, 40, 90]) == [0, 0, 0, 0]
    assert hidden([500, 4]) == [1, 1]
    # Two small ones that together are still small need a third.
    assert hidden([500, 3, 4, 90]) == [0, 1, 1, 1]
    assert hidden([500, 8, 9, 90]) == [0, 1, 1, 0]


def test_an_empty_group_is_shown_as_empty_unless_noise_hides_which_is_which():
    assert hidden([500, 0, 90]) == [0, 0, 0]
    assert hidden([500, 0, 90], variance=2.0) == [0, 1, 1]


@settings(max_examples=200)
@given(
    st.lists(st.integers(0, 30), min_size=12, max_size=12),
    st.sampled_from([(12,), (3, 4), (2, 3, 2), (2, 6)]),
)
def test_no_line_of_an_intersection_gives_a_small_group_away(values, shape):
    sizes = np.array(values).reshape(shape)
    hide = np.array(hidden(sizes)).astype(bool)
    assert hide[(sizes > 0) & (sizes < 11)].all()
    for axis in range(sizes.ndim):
        others = [range(n) for i, n in enumerate(shape) if i != axis]
        for at in itertools.product(*others):
            line = tuple([*at[:axis], slice(None), *at[axis:]])
            shown = sizes[line][~hide[line]]
            if hide[line].any() and (shown > 0).any():
                assert hide[line].sum() >= 2
                # What subtraction from the line's total yields:
                assert sizes[line].sum() - shown.sum() >= 11


def test_a_withheld_group_shows_neither_value_nor_size_nor_which_is_small(from_counts):
    tables = from_counts([[[50, 50], [50, 50]], [[1, 1], [1, 1]], [[10, 10], [10, 10]]])
    groups = by_group(tables, "selection_rate", feature="feature")
    assert [g.suppressed for g in groups.values()] == [False, True, True]
    small, complement = groups["group 1"], groups["group 2"]
    assert repr(small) == repr(complement)
    assert np.isnan(small.size.value) and np.isnan(small.estimate.value)
    assert "11" in small.reason
    curve = roc(tables, feature="feature", group="group 1")
    assert curve.fpr.size == 0 and np.isnan(curve.auc.value) and np.isnan(curve.auc_bins_low)
    shown = by_group(tables, "selection_rate", feature="feature", minimum_cell=4)
    assert not any(g.suppressed for g in shown.values())


def test_a_withheld_group_leaves_the_gap_and_the_verdict_says_so(from_counts):
    alike = [[300, 300], [300, 300]]
    tables = from_counts([alike, [[0, 2], [0, 2]], alike, [[15, 0], [15, 0]]])
    gap = aggregate(tables, "demographic_parity_difference", feature="feature")
    assert gap.value == 0.0
    assert "group 1, group 3" in gap.note
    objective = Objective(
        metric="demographic_parity_difference", feature="feature", bar=0.2, direction="at-most"
    )
    verdict = judge(tables, objective)
    assert verdict.outcome == "holds"
    assert "too small to show: group 1, group 3" in verdict.sentence


def test_intersections_are_withheld_by_their_own_sizes(from_records):
    layout = Layout(
        features=(
            SensitiveFeature(name="sex", groups=("F", "M")),
            SensitiveFeature(name="age", groups=("young", "old")),
        )
    )
    cells = [(0, 0)] * 40 + [(0, 1)] * 5 + [(1, 0)] * 50 + [(1, 1)] * 60
    scores = np.linspace(0, 1, len(cells))
    tables = from_records(layout, cells, np.arange(len(cells)) % 2, scores)
    assert not any(g.suppressed for g in by_group(tables, "count", feature="sex").values())
    # One small cell in a table of two by two: with both margins shown, all four must go.
    both = by_group(tables, "count", feature="sex*age")
    assert all(g.suppressed for g in both.values())


def test_a_negative_minimum_is_refused(from_counts):
    with pytest.raises(FairnessError, match="negative"):
        by_group(from_counts([[[9, 9], [9, 9]]]), "count", feature="feature", minimum_cell=-1)


def test_a_group_of_fewer_than_three_sites_is_withheld_whatever_its_size(two_features):
    rng = np.random.default_rng(5)
    groups = np.column_stack([rng.integers(0, 2, 900), rng.integers(0, 3, 900)])
    labels, scores = rng.integers(0, 2, 900), rng.random(900)
    vector = tabulate(two_features, groups=groups, labels=labels, scores=scores)

    def shown(*absent):
        tables = Tables.from_vector(
            vector,
            layout=two_features,
            counts_variance=0,
            histogram_variance=0,
            sites=4,
            absent=tuple(frozenset(each) for each in absent),
        )
        by = {
            name: by_group(tables, "selection_rate", feature=name)
            for name in ("sex", "age", "sex*age")
        }
        return {name: [not one.suppressed for one in by[name].values()] for name in by}

    everywhere = shown()
    assert all(all(row) for row in everywhere.values())
    old = ("age", "old")
    # Old people at three of four sites: shown. At two: withheld, with one more to hide it.
    assert shown([old])["age"] == [True, True, True]
    at_two = shown([old], [old])
    assert at_two["age"][2] is False and at_two["age"].count(True) == 1
    assert at_two["sex"] == [True, True]
    # Women absent at one site, old people at another: old women come from two sites only.
    women_old = shown([("sex", "Female")], [old])
    assert women_old["sex"] == [True, True] and women_old["age"] == [True, True, True]
    assert women_old["sex*age"][2] is False
