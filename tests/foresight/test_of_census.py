"""The planner takes an opened census in place of shares that people declare."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fedethics.aggregates.census.layout import layout_of_census
from fedethics.aggregates.census.opened import OpenedCensus
from fedethics.charter.census_terms import CensusTerms
from fedethics.charter.data_terms import LabelColumn
from fedethics.charter.document import load
from fedethics.charter_sums import layout_of
from fedethics.errors import FairnessError
from fedethics.foresight.of_census import declared_of
from fedethics.foresight.population import population
from tests.privacy.charters import HEART

CHARTER = dataclasses.replace(load(HEART), census=CensusTerms())
SEX = np.array([[100.0, 50.0], [150.0, 300.0]])
BANDS = np.array([[100.0, 50.0], [50.0, 150.0], [100.0, 150.0]])


def census(sex, bands, charter=CHARTER):
    return OpenedCensus(
        terms=charter.census,
        layout=layout_of_census(charter),
        counts=np.concatenate([sex.ravel(), bands.ravel()]),
        variance=0.0,
        sites=4,
    )


def test_exact_counts_become_the_population_that_they_are():
    found = declared_of(CHARTER, census(SEX, BANDS))
    fraction = CHARTER.data.holdout_fraction
    assert found.records == round(600 * fraction)
    assert found.groups["sex"] == (round(150 * fraction), round(450 * fraction))
    assert found.base_rates["sex"] == pytest.approx((1 / 3, 2 / 3), abs=0.005)
    assert found.base_rates["age_band"] == pytest.approx((1 / 3, 3 / 4, 3 / 5), abs=0.005)
    assert declared_of(CHARTER, census(SEX, BANDS), held_out=77).records == 77


@pytest.mark.parametrize("seed", range(20))
def test_counts_under_much_noise_still_make_a_population(seed):
    rng = np.random.default_rng(seed)
    noised = census(SEX + rng.normal(0, 120, SEX.shape), BANDS + rng.normal(0, 120, BANDS.shape))
    found = declared_of(CHARTER, noised, held_out=180)
    assert all(sum(sizes) == 180 and min(sizes) >= 0 for sizes in found.groups.values())
    people = population(
        layout_of(CHARTER), records=180, groups=found.groups, base_rates=found.base_rates
    )
    assert people.shares.sum() == pytest.approx(1.0)


def test_a_census_of_other_groups_or_of_nobody_is_refused():
    one, *others = CHARTER.data.sensitive
    swapped = dataclasses.replace(one, groups=("Male", "Female"))
    data = dataclasses.replace(CHARTER.data, sensitive=(swapped, *others))
    with pytest.raises(FairnessError, match="counts other groups"):
        declared_of(dataclasses.replace(CHARTER, data=data), census(SEX, BANDS))
    with pytest.raises(FairnessError, match="shows no records that could be held out"):
        declared_of(CHARTER, census(SEX * 0, BANDS * 0))


def test_a_census_without_labels_says_sizes_alone():
    plain = dataclasses.replace(CHARTER, census=CensusTerms(labels=False))
    found = declared_of(plain, census(SEX.sum(axis=1), BANDS.sum(axis=1), plain))
    assert found.base_rates == {} and sum(found.groups["sex"]) == found.records


def test_of_several_classes_the_census_says_how_many_records_each_has():
    label = LabelColumn(column="num", classes=("a", "b", "c"))
    data = dataclasses.replace(CHARTER.data, label=label)
    charter = dataclasses.replace(CHARTER, data=data)
    sex, bands = np.array([[10.0, 20, 70], [90, 80, 30]]), np.ones((3, 3)) * 100 / 3
    found = declared_of(charter, census(sex, bands, charter), held_out=300)
    assert found.classes == (100, 100, 100) and found.base_rates == {}
    assert found.groups["sex"] == (100, 200)
