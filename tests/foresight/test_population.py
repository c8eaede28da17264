"""Who is held out is what was declared, and a contradiction is one clear error."""

import numpy as np
import pytest

from fedethics.errors import FairnessError
from fedethics.foresight.population import population

SIZES = {"sex": (58, 199), "age": (100, 100, 57)}
RATES = {"sex": (15 / 58, 120 / 199)}


def test_sizes_and_base_rates_of_every_feature_are_those_declared(layout):
    found = population(layout, records=257, groups=SIZES, base_rates=RATES)
    shares = found.shares.reshape(2, 3, 2)
    assert shares.sum() == pytest.approx(1)
    for axis, name in enumerate(("sex", "age")):
        sizes = shares.sum(axis=(1 - axis, 2)) * 257
        assert sizes == pytest.approx(SIZES[name], abs=0.01)
    by_sex = shares.sum(axis=1)
    assert by_sex[:, 1] * 257 == pytest.approx([15, 120], abs=0.01)


def test_rates_by_two_features_are_both_met(layout):
    rates = {"sex": (0.25, 0.5), "age": (0.25, 0.5, 0.5)}
    sizes = {"sex": (100, 200), "age": (100, 100, 100)}
    shares = population(layout, records=300, groups=sizes, base_rates=rates).shares
    shares = shares.reshape(2, 3, 2)
    for axis, name in enumerate(("sex", "age")):
        side = shares.sum(axis=1 - axis)
        assert side[:, 1] / side.sum(axis=1) == pytest.approx(rates[name], abs=0.01)


def test_what_was_not_declared_is_said(layout):
    told = population(layout, records=10, groups={}).defaults
    assert [words.split("(")[1].split()[0] for words in told] == [
        "--groups", "--groups", "--base-rate)"
    ]  # fmt: skip
    full = population(layout, records=257, groups=SIZES, base_rates=RATES)
    assert full.defaults == ()
    assert np.allclose(population(layout, records=10, groups={}).shares, 1 / 12)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"records": 0}, "at least one record"),
        ({"groups": {"race": (257,)}}, "'race' is not declared; declared: sex, age"),
        ({"groups": {"sex": (257,)}}, "one for each, in this order: Female, Male"),
        ({"groups": {"sex": (58, 198)}}, r"58, 198 are 256 records, --held-out says 257"),
        ({"groups": {"sex": (-1, 258)}}, "are 257 records"),
        ({"base_rate": 1.0}, "not a share"),
        ({"base_rate": float("nan")}, "not a share"),
        ({"base_rates": {"sex": (0.2, 1.4)}}, "not a share"),
        ({"base_rates": {"age": (0.2, 0.3)}}, "in this order: young, middle, old"),
        ({"base_rate": 0.2, "base_rates": {"sex": (0.6, 0.6)}}, "0.200 by everyone, 0.600 by sex"),
    ],
)
def test_what_cannot_be_is_one_clear_error(layout, changes, says):
    asked = {"records": 257, "groups": {}} | changes
    records = asked.pop("records")
    with pytest.raises(FairnessError, match=says):
        population(layout, records=records, **asked)
