"""Before a run, Opacus's accountants are held against the accountant of record."""

import dataclasses
import math
from concurrent.futures import ThreadPoolExecutor

import pytest

from fedethics.charter import document
from fedethics.charter.document import load
from fedethics.errors import TrainingError
from fedethics.privacy.events import SampledGaussian, SkellamRelease
from fedethics.privacy.plan import make_plan
from fedethics.training import accountants
from fedethics.training.accountants import cross_check
from tests.training.conftest import HEART

GRID = [(0.8, 0.05, 40), (1.5, 0.1, 100), (2.9, 0.5, 20), (1.1, 1.0, 3), (10.0, 1.0, 20)]


@pytest.fixture(autouse=True)
def nothing_is_asked_yet():
    accountants._asked.cache_clear()
    yield
    accountants._asked.cache_clear()


@pytest.fixture
def asked(monkeypatch):
    """Return the list of questions to Opacus's PRV accountant."""
    found: list[float] = []
    answer = accountants.PRVAccountant.get_epsilon

    def noted(self, delta, **settings):
        found.append(delta)
        return answer(self, delta, **settings)

    monkeypatch.setattr(accountants.PRVAccountant, "get_epsilon", noted)
    return found


def test_a_second_site_with_the_same_plan_asks_no_accountant_again(asked):
    charter = load(HEART)
    first = cross_check(make_plan(charter).training.events, delta=charter.privacy.delta)
    assert len(asked) == 1
    own = make_plan(document.parse(document.encode(charter)))
    assert cross_check(own.training.events, delta=own.delta) == first
    assert len(asked) == 1


def test_sites_that_ask_at_once_wait_for_one_answer(asked):
    def site(_):
        return cross_check((SampledGaussian(1.5, 0.1, 100),), delta=1e-5)

    with ThreadPoolExecutor(4) as sites:
        assert len(set(sites.map(site, range(4)))) == 1
    assert len(asked) == 1


def test_another_plan_or_delta_is_asked_for_by_itself(asked):
    plans = [SampledGaussian(1.5, 0.1, 100), SampledGaussian(1.5, 0.1, 101)]
    found = {cross_check((step,), delta=delta) for step in plans for delta in (1e-5, 1e-6)}
    assert len(asked) == len(found) == 4


def test_a_disagreement_is_told_to_each_site_that_asks(monkeypatch):
    monkeypatch.setattr(accountants, "epsilon", lambda events, *, delta: 0.0)
    for _ in range(2):
        with pytest.raises(TrainingError, match="accountants disagree"):
            cross_check((SampledGaussian(2.9, 0.5, 20),), delta=1e-5)


@pytest.mark.parametrize("step", GRID, ids=str)
def test_ours_lies_between_prv_from_below_and_renyi_from_above(step):
    found = cross_check((SampledGaussian(*step),), delta=1e-5)
    assert found is not None
    assert found.prv_lower is not None
    assert found.prv_lower <= found.pld <= found.rdp
    assert found.pld - found.prv_lower < 0.05


def test_steps_of_several_kinds_are_composed_and_other_releases_left_out():
    one, other = SampledGaussian(2.0, 0.1, 30), SampledGaussian(1.5, 0.2, 10)
    found = cross_check((one, SkellamRelease(5.0), other), delta=1e-5)
    assert found == cross_check((one, other), delta=1e-5)
    assert found is not None
    assert found.pld > cross_check((one,), delta=1e-5).pld
    assert cross_check((SkellamRelease(5.0),), delta=1e-5) is None


@pytest.mark.parametrize("factor", [0.8, 1.3])
def test_an_accountant_that_reports_too_little_or_too_much_is_caught(monkeypatch, factor):
    honest = accountants.epsilon
    monkeypatch.setattr(
        accountants, "epsilon", lambda events, *, delta: factor * honest(events, delta=delta)
    )
    with pytest.raises(TrainingError, match="accountants disagree"):
        cross_check((SampledGaussian(2.9, 0.5, 20),), delta=1e-5)


def test_where_prv_computes_nothing_renyi_still_bounds(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("Cannot compute epsilon")

    monkeypatch.setattr(accountants.PRVAccountant, "get_epsilon", broken)
    found = cross_check((SampledGaussian(1.5, 0.1, 100),), delta=1e-5)
    assert found is not None
    assert found.prv_lower is None


def test_the_demos_plan_passes_and_a_plan_without_noise_has_nothing_to_check():
    charter = load(HEART)
    plan = make_plan(charter)
    found = cross_check(plan.training.events, delta=plan.delta)
    assert found is not None
    assert 0 < found.pld <= plan.training.epsilon  # with what else training records answer
    local = dataclasses.replace(charter.privacy.training, mechanism="none")
    privacy = dataclasses.replace(charter.privacy, training=local)
    bare = make_plan(dataclasses.replace(charter, privacy=privacy))
    assert math.isinf(bare.training.epsilon)
    assert cross_check(bare.training.events, delta=plan.delta) is None
