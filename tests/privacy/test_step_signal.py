"""The bound batch / (sigma sqrt(p)) is that of sums and noise, and says what to change."""

import dataclasses
import math

import numpy as np
import pytest

from fedethics.charter.document import load
from fedethics.charter.model import Member
from fedethics.privacy.plan import make_plan
from fedethics.privacy.signal import HEARD, StepSignal, step_signal
from tests.privacy.charters import HEART, UNAUDITED, with_terms

RECORDS = {"a": 400, "b": 300, "c": 200, "d": 100}


@pytest.fixture(scope="module")
def heart():
    members = tuple(
        Member(site=site, public_key=f"{place:064x}", declared_records=count)
        for place, (site, count) in enumerate(RECORDS.items(), 1)
    )
    return dataclasses.replace(with_terms(load(HEART), audit=UNAUDITED), roster=members)


def signal(charter, parameters=1000):
    return step_signal(charter, make_plan(charter), parameters=parameters, records=RECORDS)


def test_it_is_the_length_of_a_sum_of_equal_gradients_over_the_length_of_its_noise(heart):
    found, sigma = signal(heart), make_plan(heart).update.noise_multiplier
    random = np.random.default_rng(0)
    direction = random.standard_normal(1000)
    direction /= np.linalg.norm(direction)
    total, noise = np.zeros(1000), np.zeros(1000)
    for count in RECORDS.values():
        total += 0.5 * count * direction  # sampling rate one half, each clipped to length 1
        noise += sigma * random.standard_normal(1000)
    assert found.bound == pytest.approx(np.linalg.norm(total) / np.linalg.norm(noise), rel=0.05)


@pytest.mark.parametrize(
    ("batch", "sigma", "parameters", "bound"),
    [(64, 0.612, 92_160, 0.34), (520, 1.363, 6144, 4.87), (520, 2.726, 6144, 2.43)],
)
def test_it_is_the_figure_of_the_feasibility_study(batch, sigma, parameters, bound):
    found = StepSignal(parameters=parameters, batch=batch, noise=sigma)
    assert found.bound == pytest.approx(bound, abs=0.01)
    assert found.heard == (found.sentences() == []) == (bound >= HEARD)


def test_distributed_trust_has_less_noise_and_a_quiet_step_is_told_so(heart):
    local = signal(heart, parameters=100_000)
    shared = signal(with_terms(heart, training={"trust_mode": "distributed"}), parameters=100_000)
    assert local.shared_noise == shared.noise < local.noise
    assert shared.shared_noise == 0.0
    assert "distributed" in " ".join(local.sentences())
    assert "distributed" not in " ".join(shared.sentences())


def test_each_change_that_it_names_is_enough(heart):
    found = signal(heart, parameters=50_000)
    said = " ".join(found.sentences())
    fewer = int(said.split("at most ")[1].split()[0])
    batch = int(said.split("a batch of ")[1].split()[0])
    assert dataclasses.replace(found, parameters=fewer).heard
    assert not dataclasses.replace(found, parameters=math.ceil(fewer * 1.01)).heard
    assert dataclasses.replace(found, batch=batch).heard
    assert not dataclasses.replace(found, batch=0.99 * batch).heard


def test_the_count_of_adaptive_clipping_is_paid_in_noise(heart):
    plain = signal(heart)
    adaptive = signal(with_terms(heart, training={"adaptive_quantile": 0.5, "adaptive_share": 0.1}))
    assert adaptive.noise == pytest.approx(plain.noise / math.sqrt(0.9))


def test_without_noise_or_records_there_is_no_bound(heart):
    plan = make_plan(heart)
    assert step_signal(heart, plan, parameters=10, records={}) is None
    assert step_signal(heart, plan, parameters=0, records=RECORDS) is None
    assert signal(with_terms(heart, training={"mechanism": "none"})) is None
