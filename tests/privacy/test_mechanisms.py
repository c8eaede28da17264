"""A mechanism is one class in a registry; one that is not there is refused by name."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, get_args, get_type_hints

import numpy as np
import pytest

from fedethics.charter.document import load
from fedethics.charter.privacy_terms import EvaluationPrivacy, TrainingPrivacy
from fedethics.errors import AccountingError, TrainingError
from fedethics.privacy import events, skellam
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.events import (
    COUNT_MECHANISMS,
    CountMechanism,
    SkellamRelease,
    count_mechanism,
    from_document,
    merge,
)
from fedethics.privacy.noise import NoiseSource
from fedethics.privacy.plan import make_plan
from fedethics.training.gradient_noise import GRADIENT_NOISES, gradient_noise
from tests.privacy.charters import HEART, with_terms


@dataclass(frozen=True, slots=True)
class Doubled(CountMechanism):
    """Twice a Skellam draw: a mechanism that nobody but this test knows."""

    kind: ClassVar[str] = "doubled-skellam"
    largest_std: ClassVar[float] = 1e4

    std: float
    releases: int = 1
    sensitivity: int = 1

    @classmethod
    def of(cls, *, std, shares, releases=1, sensitivity=1):
        return cls(std, releases, sensitivity)

    @staticmethod
    def draw(noise, *, variance, size):
        return 2 * noise.skellam(variance=variance / 4, size=size)

    def loss(self, interval):
        return skellam.privacy_loss(self.std / 2, interval=interval, sensitivity=self.sensitivity)


def test_the_charter_offers_exactly_the_mechanisms_of_the_registries():
    tables = get_args(get_type_hints(EvaluationPrivacy)["mechanism"])
    assert set(tables) == {*COUNT_MECHANISMS, "none"}
    assert set(get_args(get_type_hints(TrainingPrivacy)["noise"])) == set(GRADIENT_NOISES)


def test_a_mechanism_that_is_not_in_the_registry_is_refused_by_name():
    with pytest.raises(AccountingError, match="no mechanism of counts is named 'laplace'"):
        count_mechanism("laplace")
    with pytest.raises(TrainingError, match="no noise of gradients is named 'loud'"):
        gradient_noise("loud")
    charter = with_terms(load(HEART), evaluation={"mechanism": "laplace"})
    with pytest.raises(AccountingError, match="'laplace'"):
        make_plan(charter)


def test_a_new_mechanism_is_one_class_and_one_entry(monkeypatch):
    monkeypatch.setattr(events, "COUNT_MECHANISMS", {**COUNT_MECHANISMS, Doubled.kind: Doubled})
    monkeypatch.setattr(events, "EVENTS", {**events.EVENTS, Doubled.kind: Doubled})
    charter = with_terms(load(HEART), evaluation={"mechanism": Doubled.kind})
    plan = make_plan(charter)
    assert plan.count_mechanism is Doubled
    assert {type(event) for event in plan.evaluation.events} == {Doubled}
    budget = charter.privacy.evaluation.epsilon
    assert 0.95 * budget < plan.evaluation.epsilon <= budget
    assert [from_document(event.document()) for event in plan.evaluation.events] == list(
        plan.evaluation.events
    )


def test_equal_mechanisms_are_merged_whichever_they_are():
    assert merge((Doubled(8.0), Doubled(8.0, 2), SkellamRelease(8.0))) == (
        Doubled(8.0, 3),
        SkellamRelease(8.0),
    )
    assert epsilon([Doubled(8.0)], delta=1e-5) == epsilon([SkellamRelease(4.0)], delta=1e-5)


@pytest.mark.parametrize("name", COUNT_MECHANISMS)
def test_draws_have_the_variance_asked_for_and_an_event_that_of_its_guarantee(name):
    mechanism = COUNT_MECHANISMS[name]
    draws = mechanism.draw(NoiseSource.fixed(b"variance"), variance=25.0, size=200_000)
    assert draws.dtype == np.int64
    assert np.var(draws) == pytest.approx(25.0, rel=0.02)
    event = mechanism.of(std=6.0, shares=2, releases=5, sensitivity=3)
    assert (event.variance, event.multiplier, event.times) == (4.0, 2.0, 5)
    assert event.once() == dataclasses.replace(event, releases=1)
