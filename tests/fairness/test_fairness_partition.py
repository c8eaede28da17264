"""A group's numbers are sums of cells, and so is its noise."""

import dataclasses

import numpy as np
import pytest

from fedethics.errors import FairnessError
from fedethics.fairness import Layout, SensitiveFeature, Tables, by_group, tabulate
from fedethics.fairness.partition import by_feature, everyone

THREE = Layout(
    features=(
        SensitiveFeature(name="a", groups=("a0", "a1")),
        SensitiveFeature(name="b", groups=("b0", "b1", "b2")),
        SensitiveFeature(name="c", groups=("c0", "c1")),
    )
)


def tables_of(vector, counts_variance, histogram_variance):
    return Tables.from_vector(
        vector,
        layout=THREE,
        counts_variance=counts_variance,
        histogram_variance=histogram_variance,
        sites=4,
    )


def test_each_group_adds_the_cells_that_bear_its_name():
    vector = np.random.default_rng(0).integers(0, 1000, THREE.length)
    tables = tables_of(vector, 1.0, 1.0)
    cube = tables.counts.reshape(2, 3, 2, 2, 2)
    asked = by_feature(tables, "c*a")
    assert asked.groups == ("c0*a0", "c0*a1", "c1*a0", "c1*a1")
    for index, (c, a) in enumerate(np.ndindex(2, 2)):
        assert np.array_equal(asked.counts[index], cube[a, :, c].sum(axis=0))
    # With a variance of 1e12 the counts know nothing that the bins do not.
    apart = tables_of(vector, 1e12, 1.0)
    bins = apart.histogram.reshape(2, 3, 2, 2, 64)
    assert by_feature(apart, "b").scores[2] == pytest.approx(bins[:, 2].sum(axis=(0, 1)), abs=1e-3)
    assert np.array_equal(everyone(tables).counts[0], tables.counts.sum(axis=0))


@pytest.mark.parametrize("feature", ["a", "b", "a*b", "b*c*a", None])
def test_the_noise_of_a_group_is_what_simulation_shows(feature):
    rng = np.random.default_rng(7)
    variances = (3.0, 5.0)
    seen = []
    for _ in range(3000):
        noise = [
            rng.poisson(v / 2, n) - rng.poisson(v / 2, n)
            for v, n in zip(variances, (THREE.counts_length, THREE.histogram_length), strict=True)
        ]
        tables = tables_of(np.concatenate(noise), *variances)
        groups = everyone(tables) if feature is None else by_feature(tables, feature)
        seen.append((groups.counts[0, 0, 0], groups.histogram[0, 1].sum(), groups.sizes[0]))
    measured = np.var(seen, axis=0)
    row = groups.score_noise.summed(64)[0]
    stated = (groups.counts_variance, row, groups.size_variance)
    # Standard error of a variance over 3,000 draws is about 2.6 %.
    assert measured == pytest.approx(stated, rel=0.12)


@pytest.mark.parametrize("feature", ["d", "a*d", "a*a", ""])
def test_a_feature_that_was_not_declared_is_refused(feature):
    tables = tables_of(np.zeros(THREE.length, dtype=int), 0, 0)
    with pytest.raises(FairnessError):
        by_group(tables, "selection_rate", feature=feature)


@pytest.mark.parametrize("crossed", [(), ("age",), ("sex",), ("sex", "age"), ("age", "sex")])
def test_a_coarser_histogram_is_the_finer_one_summed_and_costs_no_other_table(
    two_features, crossed
):
    rng = np.random.default_rng(5)
    records = 200
    groups = np.stack([rng.integers(0, 2, records), rng.integers(0, 3, records)], axis=1)
    labels, scores = rng.integers(0, 2, records), rng.random(records)
    coarse = dataclasses.replace(two_features, histogram_by=crossed)

    def tables(layout):
        vector = tabulate(layout, groups=groups, labels=labels, scores=scores)
        return Tables.from_vector(
            vector, layout=layout, counts_variance=0, histogram_variance=0, sites=3
        )

    fine, few = tables(two_features), tables(coarse)
    assert np.array_equal(few.counts, fine.counts)
    assert few.histogram.size == coarse.histogram_length
    assert np.array_equal(everyone(few).scores, everyone(fine).scores)
    for feature in ("sex", "age", "age*sex"):
        kept = set(feature.split("*")) <= set(crossed)
        if kept:
            assert np.array_equal(by_feature(few, feature).scores, by_feature(fine, feature).scores)
        else:
            with pytest.raises(FairnessError, match="histogram-by"):
                _ = by_feature(few, feature).scores


def test_an_unknown_feature_for_the_histogram_is_refused(two_features):
    with pytest.raises(FairnessError, match="not declared"):
        dataclasses.replace(two_features, histogram_by=("shoe size",))
