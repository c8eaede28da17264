"""Canaries through the real steps: a sound mechanism passes, each broken one is named."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import binom

from fedethics.charter.document import load
from fedethics.errors import TrainingError
from fedethics.privacy.noise import NoiseSource
from fedethics.training import clipping, dp_sgd, gradient_noise
from fedethics.training.mechanism_audit import audit_mechanism
from tests.privacy.charters import UNAUDITED
from tests.training.conftest import HEART

NOISE, RUN_NOISE, SHIFT, MEAN, SPREAD, TRIALS, ONE_RUN = range(7)
SIZE = 5000


@pytest.fixture(scope="module")
def coordinates():
    """All that a canary run asks of a learner: trained coordinates."""
    return SimpleNamespace(parameters={"weight": torch.zeros(SIZE)}, size=SIZE)


def charter(**changes):
    draft = load(HEART)
    training = dataclasses.replace(draft.privacy.training, **changes)
    privacy = dataclasses.replace(draft.privacy, training=training, audit=UNAUDITED)
    return dataclasses.replace(draft, privacy=privacy)


def audit(learner, *, seed=b"canaries", canaries=1000, **changes):
    return audit_mechanism(
        charter(**changes), learner, noise=NoiseSource.fixed(seed), canaries=canaries
    )


def failed(found):
    return {index for index, line in enumerate(found.lines) if not line.passed}


@pytest.mark.parametrize(
    "changes",
    [{}, {"sampling_rate": 0.1}, {"sampling_rate": 1.0}, {"adaptive_quantile": 0.5}],
    ids=["as in the demo", "few units a step", "all units", "adaptive clipping"],
)
def test_a_sound_mechanism_passes_and_its_bounds_stay_below_the_promise(coordinates, changes):
    found = audit(coordinates, **changes)
    assert found.sound and found.steps == 20
    assert found.promised == pytest.approx(3.0, abs=0.01)
    assert 0.0 < found.lines[TRIALS].measured < found.promised
    assert found.lines[NOISE].measured == pytest.approx(found.noise_multiplier, rel=0.05)


def test_exact_noise_and_a_real_learner_pass_too(tiny):
    found = audit(tiny(), noise="strict")
    assert found.sound and found.canaries <= tiny().size // 2


def test_bounds_exceed_the_promise_no_more_often_than_they_may(coordinates):
    runs = 40
    above = sum(
        bool(failed(audit(coordinates, seed=bytes([seed]), canaries=300)) & {TRIALS, ONE_RUN})
        for seed in range(runs)
    )
    assert above <= binom.ppf(0.999, runs, 0.10)


def test_half_the_noise_is_caught(coordinates, monkeypatch):
    honest = gradient_noise.gaussian
    monkeypatch.setattr(
        gradient_noise, "gaussian", lambda noise, size, std: honest(noise, size=size, std=std / 2)
    )
    assert {NOISE, RUN_NOISE} <= failed(audit(coordinates))


def test_noise_of_a_tenth_breaks_the_promise_by_the_bounds_alone(coordinates, monkeypatch):
    honest = gradient_noise.gaussian
    monkeypatch.setattr(
        gradient_noise, "gaussian", lambda noise, size, std: honest(noise, size=size, std=std / 10)
    )
    found = audit(coordinates, canaries=2000)
    assert {TRIALS, ONE_RUN} <= failed(found)
    assert found.lines[TRIALS].measured > found.promised


def test_noise_drawn_for_the_mean_and_added_to_the_sum_is_caught(coordinates, monkeypatch):
    honest = gradient_noise.gaussian
    monkeypatch.setattr(
        gradient_noise, "gaussian", lambda noise, size, std: honest(noise, size=size, std=std / 50)
    )
    assert {NOISE, RUN_NOISE, TRIALS} <= failed(audit(coordinates))


def test_missing_clipping_is_caught(coordinates, monkeypatch):
    monkeypatch.setattr(clipping, "_clip", lambda gradient, **_: gradient)
    found = audit(coordinates)
    assert {SHIFT, TRIALS} <= failed(found)
    assert found.lines[SHIFT].measured == pytest.approx(10 * 0.5 * 20, rel=0.1)


def test_sampling_twice_as_many_is_caught(coordinates, monkeypatch):
    honest = dp_sgd.poisson_sample
    monkeypatch.setattr(
        dp_sgd,
        "poisson_sample",
        lambda noise, count, rate: honest(noise, count=count, rate=2 * rate),
    )
    assert {SHIFT, MEAN} <= failed(audit(coordinates, sampling_rate=0.1))


def test_batches_of_a_fixed_size_are_not_poisson_sampling(coordinates, monkeypatch):
    def fixed_size(noise, *, count, rate):
        return np.argsort(noise.uniform(count))[: round(count * rate)]

    monkeypatch.setattr(dp_sgd, "poisson_sample", fixed_size)
    assert failed(audit(coordinates)) == {SPREAD}


def test_the_same_noise_in_every_step_is_caught(coordinates, monkeypatch):
    honest = gradient_noise.gaussian
    monkeypatch.setattr(
        gradient_noise,
        "gaussian",
        lambda noise, size, std: honest(NoiseSource.fixed(b"again"), size=size, std=std),
    )
    assert RUN_NOISE in failed(audit(coordinates))


def test_what_has_no_noise_of_one_site_is_refused_by_name(coordinates):
    with pytest.raises(TrainingError, match="'none' under 'local' trust"):
        audit(coordinates, mechanism="none")
    with pytest.raises(TrainingError, match="under 'distributed' trust"):
        audit(coordinates, trust_mode="distributed")
