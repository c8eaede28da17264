"""Sums of score changes are paid for: by the entries a record moves, each by its most."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest

from fedethics.charter.document import load
from fedethics.charter.ethics_terms import STEPS, ExplanationTerms
from fedethics.charter_sums import layout_of
from fedethics.errors import AccountingError
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.events import DiscreteGaussianRelease, NonPrivate, SkellamRelease
from fedethics.privacy.plan import make_plan
from fedethics.privacy.skellam import probabilities
from tests.privacy.charters import HEART, UNAUDITED, with_terms

ASKED = ExplanationTerms(columns=("*",), by="sex", swap=("sex",), largest_change=0.25)


def explained(terms: ExplanationTerms = ASKED, **evaluation):
    charter = load(HEART)
    ethics = dataclasses.replace(charter.ethics, explanation=terms)
    draft = dataclasses.replace(charter, ethics=ethics)
    return with_terms(draft, evaluation=evaluation, audit=UNAUDITED)


@pytest.mark.parametrize("mechanism", ["skellam", "discrete-gaussian"])
def test_what_is_explained_is_within_the_evaluation_budget(mechanism):
    charter = explained(mechanism=mechanism)
    plan, layout = make_plan(charter), layout_of(charter)
    assert 0.99 * 3.0 < plan.evaluation.epsilon <= 3.0
    effects, flips = plan.fairness.events[2:]
    assert isinstance(effects, SkellamRelease | DiscreteGaussianRelease)
    assert (effects.releases, effects.sensitivity) == (layout.explained.changes, STEPS)
    assert (flips.releases, flips.sensitivity) == (len(layout.explained.swaps), 1)
    assert (
        effects.std
        == plan.fairness.effects.std
        == pytest.approx(4.0 * STEPS * plan.fairness.counts.std)
    )
    assert flips.std == plan.fairness.flips.std == pytest.approx(2.0 * plan.fairness.counts.std)
    tables = [plan.progress.noise.event] * len(plan.progress.rounds) + list(plan.fairness.events)
    assert epsilon(tables, delta=plan.delta) == plan.evaluation.epsilon


def test_a_person_with_several_rows_is_paid_for_by_all_of_them():
    charter = explained()
    data = dataclasses.replace(charter.data, person="patient", max_rows_per_person=3)
    privacy = dataclasses.replace(charter.privacy, unit="person")
    plan = make_plan(dataclasses.replace(charter, data=data, privacy=privacy))
    assert [event.sensitivity for event in plan.fairness.events] == [3, 3, 3 * STEPS, 3]


def test_explanations_leave_less_budget_for_the_tables():
    plain, more = make_plan(explained(ExplanationTerms())), make_plan(explained())
    assert plain.fairness.counts.std < more.fairness.counts.std < 1.5 * plain.fairness.counts.std
    assert len(plain.fairness.events) == 2
    assert (plain.fairness.effects.std, plain.fairness.flips.std) == (0.0, 0.0)


def test_without_noise_the_books_say_so():
    plan = make_plan(explained(mechanism="none"))
    assert all(isinstance(event, NonPrivate) for event in plan.fairness.events)
    assert math.isinf(plan.evaluation.epsilon) and plan.fairness.effects.std == 0.0


def test_a_budget_too_small_for_fine_steps_is_refused():
    with pytest.raises(AccountingError, match="no noise up to"):
        make_plan(explained(epsilon=0.001))


@pytest.mark.parametrize("moved", [(3, 3), (3, -2), (-1, 3), (2, 1), (0, 3)])
def test_moving_less_or_the_other_way_costs_no_more_than_the_accountant_says(moved):
    # Two entries under Skellam noise, a record that moves both: delta summed over all outcomes.
    std, delta = 4.0, 1e-5
    mass = probabilities(std * std)
    reach = len(mass) // 2
    bound = epsilon([SkellamRelease(std, 2, 3)], delta=delta)
    padded = np.concatenate([np.zeros(3), mass, np.zeros(3)])
    shifted = [padded[3 - by : 3 - by + 2 * reach + 1] for by in moved]
    with_record, without = np.outer(*shifted), np.outer(mass, mass)
    for first, second in itertools.permutations((with_record, without)):
        spent = np.maximum(first - math.exp(bound) * second, 0.0).sum()
        # What a shift pushes off the grid weighs less than 1e-30.
        assert spent <= delta * (1 + 1e-9)
    if moved == (3, 3):
        less = np.maximum(without - math.exp(0.98 * bound) * with_record, 0.0).sum()
        assert less > delta
