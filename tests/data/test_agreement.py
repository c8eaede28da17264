"""Krippendorff's alpha against the worked examples of its author, and against its definition."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedethics.data.agreement import Coincidences, coincidences

# Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011, examples A, B and C.
BINARY = ("0100000010", "1110010000")
NOMINAL = ("aabbdcccedda", "babbbccceddd")
GAPS = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")


def items(*annotators):
    return [
        ["" if value == "." else value for value in item] for item in zip(*annotators, strict=True)
    ]


@pytest.mark.parametrize(
    ("annotators", "alpha"), [(BINARY, 0.095), (NOMINAL, 0.692), (GAPS, 0.743)]
)
def test_alpha_is_that_of_krippendorffs_own_examples(annotators, alpha):
    assert coincidences(items(*annotators)).alpha() == pytest.approx(alpha, abs=5e-4)


def brute_force(table):
    """1 - D_o / D_e from pairs of values, items with fewer than two values left out."""
    used = [[value for value in item if value] for item in table]
    used = [item for item in used if len(item) > 1]
    every = [value for item in used for value in item]
    n = len(every)
    observed = sum(
        sum(a != b for a, b in itertools.permutations(item, 2)) / (len(item) - 1) for item in used
    )
    expected = sum(a != b for a, b in itertools.permutations(every, 2)) / max(n - 1, 1)
    return 1 - observed / expected if expected else math.nan


TABLE = st.lists(
    st.lists(st.sampled_from(["", "0", "1", "2"]), min_size=3, max_size=3), max_size=25
)


@settings(max_examples=150, deadline=None)
@given(table=TABLE)
def test_alpha_is_its_definition_over_pairs(table):
    assert coincidences(table).alpha() == pytest.approx(brute_force(table), nan_ok=True)


@settings(max_examples=100, deadline=None)
@given(table=TABLE, cut=st.integers(0, 25))
def test_the_sum_of_two_sites_coincidences_gives_alpha_over_both(table, cut):
    together = coincidences(table[:cut]) + coincidences(table[cut:])
    assert together.alpha() == pytest.approx(coincidences(table).alpha(), nan_ok=True)
    assert together.items == coincidences(table).items


def test_alpha_has_no_value_where_nothing_varies_or_nobody_agrees_to_judge():
    assert math.isnan(Coincidences().alpha())
    assert math.isnan(coincidences([["1", "1"], ["1", "1"]]).alpha())
    assert coincidences([["1", ""], ["", "0"]]).items == 0


# The same author's figures for the last of his examples, at three levels.
@pytest.mark.parametrize(
    ("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_alpha_of_ranks_and_numbers_is_that_of_krippendorffs_own_example(level, alpha):
    found = coincidences(items(*GAPS), level=level, order="12345")
    assert found.alpha() == pytest.approx(alpha, abs=5e-4)


def between(c, k, given):
    """Ranks between two values, by counting: all between them, and half of each."""
    low, high = sorted((c, k))
    return sum(low < one < high for one in given) + sum(one in (low, high) for one in given) / 2


@settings(max_examples=60, deadline=None)
@given(table=TABLE)
def test_ordinal_alpha_is_its_definition_over_pairs(table):
    used = [[int(value) for value in item if value] for item in table]
    used = [item for item in used if len(item) > 1]
    every = [value for item in used for value in item]

    def apart(a, b):
        return 0.0 if a == b else between(a, b, every) ** 2

    observed = sum(
        sum(apart(a, b) for a, b in itertools.permutations(item, 2)) / (len(item) - 1)
        for item in used
    )
    expected = sum(apart(a, b) for a, b in itertools.permutations(every, 2))
    wanted = 1 - (len(every) - 1) * observed / expected if expected else math.nan
    found = coincidences(table, level="ordinal", order="012").alpha()
    assert found == pytest.approx(wanted, nan_ok=True)
