"""A person with several rows: the tables' noise and their epsilon are for all of them at once."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedethics.charter.document import encode, load, parse
from fedethics.charter.ethics_terms import ExplanationTerms
from fedethics.errors import CharterError
from fedethics.fairness.layout import Layout, SensitiveFeature
from fedethics.fairness.tabulate import tabulate, tabulate_progress
from fedethics.privacy import discrete_gaussian, skellam
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.events import DiscreteGaussianRelease, SkellamRelease
from fedethics.privacy.plan import make_plan
from tests.privacy.charters import UNAUDITED

HEART = Path(__file__).parents[2] / "configs" / "heart.charter.toml"
LAYOUT = Layout(features=(SensitiveFeature(name="sex", groups=("f", "m")),), bins=64, threshold=0.5)


def heart(rows: int, *, unit: str = "person"):
    charter = load(HEART)
    person = "patient" if unit == "person" else ""
    data = dataclasses.replace(charter.data, person=person, max_rows_per_person=rows)
    privacy = dataclasses.replace(charter.privacy, unit=unit, audit=UNAUDITED)
    ethics = dataclasses.replace(charter.ethics, explanation=ExplanationTerms())
    return dataclasses.replace(charter, data=data, privacy=privacy, ethics=ethics)


def hockey_stick(mass, shifts, eps):
    """Sum max(0, P - e^eps Q) over all joint outcomes of one entry for each shift."""
    with_unit, without = np.ones(1), np.ones(1)
    for shift in shifts:
        wide = np.pad(mass, shift)
        with_unit = np.multiply.outer(with_unit, np.roll(wide, shift)).ravel()
        without = np.multiply.outer(without, wide).ravel()
    return float(np.maximum(0.0, with_unit - math.exp(eps) * without).sum())


@pytest.mark.parametrize(
    ("event", "mass"),
    [
        (SkellamRelease(4.0, 1, 3), skellam.probabilities(16.0)),
        (DiscreteGaussianRelease(4.0, 1, 1, 3), discrete_gaussian.probabilities(16.0)),
        (DiscreteGaussianRelease(1.5, 2, 1, 3), discrete_gaussian.sum_probabilities(1.5, 2)),
    ],
)
def test_three_rows_cost_what_brute_force_says_wherever_they_fall(event, mass):
    delta = 1e-5
    eps = epsilon([event], delta=delta)
    # All in one cell is the worst, and the accounted one.
    assert hockey_stick(mass, (3,), eps) <= delta * (1 + 1e-6)
    assert hockey_stick(mass, (3,), eps - 5e-3) > delta
    for spread in ((2, 1), (1, 1, 1)):
        assert hockey_stick(mass, spread, eps) < delta


def test_a_table_accounted_for_one_row_lies_about_a_person_of_three():
    delta = 1e-5
    one_row = epsilon([SkellamRelease(4.0)], delta=delta)
    assert hockey_stick(skellam.probabilities(16.0), (3,), one_row) > 100 * delta


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 6), st.integers(0, 1), st.integers(0, 1), st.floats(0, 1, width=32)
        ),
        min_size=1,
        max_size=40,
    ),
    most=st.integers(1, 4),
)
def test_one_person_more_changes_each_table_by_at_most_the_rows_that_are_used(rows, most):
    # As data/records.py does: at most `most` rows of each person.
    kept, used = [], {}
    for row in rows:
        used[row[0]] = used.get(row[0], 0) + 1
        if used[row[0]] <= most:
            kept.append(row)
    rest = [row for row in kept if row[0] != kept[0][0]]
    tables = []
    for chosen in (kept, rest):
        groups = np.array([[row[1]] for row in chosen], dtype=np.int64).reshape(-1, 1)
        labels = np.array([row[2] for row in chosen], dtype=np.int8)
        scores = np.array([row[3] for row in chosen])
        whole = tabulate(LAYOUT, groups=groups, labels=labels, scores=scores)
        progress = tabulate_progress(LAYOUT, labels=labels, scores=scores)
        tables.append((*np.split(whole, [LAYOUT.counts_length]), progress))
    for more, less in zip(*tables, strict=True):
        assert 1 <= np.abs(more - less).sum() <= most


def test_the_plan_adds_noise_for_every_row_that_a_person_may_have():
    one, four = make_plan(heart(1)), make_plan(heart(4))
    assert four.evaluation.epsilon <= 3.0
    for of in (
        lambda plan: plan.progress.noise,
        lambda plan: plan.fairness.counts,
        lambda plan: plan.fairness.histogram,
    ):
        # Somewhat more than fourfold: at a std near 1, Skellam's own grid helps a shift of 1.
        assert 4 < of(four).std / of(one).std < 5
    assert all(event.sensitivity == 4 for event in four.evaluation.events)
    # Training clips a person as one, so nothing changes there.
    assert four.update == one.update


def test_the_unit_and_the_id_column_go_together():
    with pytest.raises(CharterError, match=r"data\.person does not name"):
        parse(encode(dataclasses.replace(heart(1), data=load(HEART).data)))
    with pytest.raises(CharterError, match="only for one row of a person"):
        parse(encode(dataclasses.replace(heart(1), privacy=heart(1, unit="record").privacy)))
    charter = heart(1)
    told = dataclasses.replace(charter.data, person="age")
    with pytest.raises(CharterError, match="must not be an input or the label"):
        parse(encode(dataclasses.replace(charter, data=told)))
