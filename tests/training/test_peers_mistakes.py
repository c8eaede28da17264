"""Mistakes found in other federated DP code, each where ours could be made to make it."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from opacus.accountants import PRVAccountant, RDPAccountant

from fedethics.charter.document import load
from fedethics.errors import TrainingError
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.calibration import noise_multiplier
from fedethics.privacy.events import SampledGaussian
from fedethics.privacy.noise import NoiseSource
from fedethics.privacy.plan import make_plan
from fedethics.training import dp_sgd
from fedethics.training.dp_sgd import private_mean, train_round
from fedethics.training.local_terms import LocalTerms
from fedethics.training.per_sample import PerSampleGradients
from tests.privacy.charters import UNAUDITED, with_terms

CHARTER = with_terms(
    load(Path(__file__).parents[2] / "configs" / "heart.charter.toml"), audit=UNAUDITED
)


@pytest.fixture
def run(tiny, texts, labels, noise):
    learner = tiny()
    activations = learner.activations(texts)

    def once(local, source=noise):
        return train_round(
            learner, vector=learner.initial_vector(), activations=activations, labels=labels,
            terms=local, noise=source,
        )  # fmt: skip

    return once


def test_the_epsilon_of_a_run_is_over_all_rounds_and_not_over_the_last_one():
    plan, terms = make_plan(CHARTER), CHARTER.privacy.training
    delta, rounds = CHARTER.privacy.delta, CHARTER.training.rounds
    each = epsilon([plan.update.event], delta=delta)
    charged = epsilon([plan.update.event] * rounds, delta=delta)
    assert charged == plan.training.epsilon <= terms.epsilon
    # What an engine that is rebuilt every round would report, and the noise it would choose.
    assert each < 0.6 * charged
    reset = noise_multiplier(
        epsilon=terms.epsilon, delta=delta, sampling_rate=terms.sampling_rate,
        steps=CHARTER.training.local_steps,
    )  # fmt: skip
    steps = rounds * CHARTER.training.local_steps
    true = epsilon([SampledGaussian(reset, terms.sampling_rate, steps)], delta=delta)
    assert true > 1.8 * terms.epsilon
    assert plan.update.noise_multiplier > 1.5 * reset


def test_steps_are_sampled_anew_and_no_pass_over_shuffled_records(run, terms):
    # A shuffled epoch at rate 1/2 would show every record exactly once in two steps.
    seen: list[set[int]] = []
    honest = dp_sgd.poisson_sample

    def watch(noise, *, count, rate):
        rows = honest(noise, count=count, rate=rate)
        seen.append(set(rows.tolist()))
        return rows

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dp_sgd, "poisson_sample", watch)
        for _ in range(60):
            run(terms(steps=2, sampling_rate=0.5))
    times = np.array(
        [
            sum(row in step for step in seen[2 * i : 2 * i + 2])
            for i in range(60)
            for row in range(12)
        ]
    )
    for count, share in ((0, 0.25), (1, 0.5), (2, 0.25)):
        deviation = math.sqrt(share * (1 - share) / len(times))
        assert abs((times == count).mean() - share) < 5 * deviation


def test_a_site_cannot_come_back_without_the_noise_that_its_charter_asks_for(run):
    with pytest.raises(TrainingError, match="the charter's mechanism is 'dp-sgd'"):
        LocalTerms.of(CHARTER, noise_multiplier=0.0, declared_records=12, round_number=1)
    sigma = make_plan(CHARTER).update.noise_multiplier
    # Two lives of one site, as a restart makes them: equal terms, fresh noise of the same size.
    lives = [
        LocalTerms.of(CHARTER, noise_multiplier=sigma, declared_records=12, round_number=3)
        for _ in range(2)
    ]
    assert lives[0] == lives[1]
    quiet = [dataclasses.replace(life, sampling_rate=1e-12, steps=1) for life in lives]
    updates = [run(life, NoiseSource.from_os()).update for life in quiet]
    expected = sigma * CHARTER.privacy.training.clipping_norm / quiet[0].expected_batch
    for update in updates:
        assert abs(update.std() / expected - 1) < 6 / math.sqrt(2 * update.size)
    assert abs(np.corrcoef(*updates)[0, 1]) < 6 / math.sqrt(updates[0].size)


@pytest.mark.parametrize("kind", ["fast", "strict"])
@pytest.mark.parametrize("norm", [1e-3, 0.4, 25.0])
def test_the_noise_is_tied_to_the_norm_that_gradients_are_clipped_to(terms, kind, norm):
    private = terms(clipping_norm=norm, noise_multiplier=1.5, noise=kind)
    nothing = torch.zeros(20_000, dtype=torch.int64 if kind == "strict" else torch.float64)
    every = torch.ones(len(nothing), dtype=torch.bool)
    mean = private_mean(nothing, every, terms=private, noise=NoiseSource.from_os())
    ratio = float(mean.double().std()) * private.expected_batch / (1.5 * norm)
    assert abs(ratio - 1) < 6 / math.sqrt(2 * len(nothing))


@pytest.mark.parametrize("rate", [1e-12, 0.5, 1.0])
def test_as_many_noised_sums_are_released_as_the_ledger_is_charged_for(
    run, terms, monkeypatch, rate
):
    # Neither fewer because a batch was empty, nor more because it was split for memory.
    released = []
    honest = dp_sgd.private_mean
    monkeypatch.setattr(
        dp_sgd, "private_mean", lambda *a, **k: released.append(1) or honest(*a, **k)
    )
    charged = make_plan(CHARTER).update.event
    local = LocalTerms.of(CHARTER, noise_multiplier=2.0, declared_records=12, round_number=1)
    result = run(dataclasses.replace(local, sampling_rate=rate, physical_batch=1))
    assert len(released) == result.stats.steps == charged.steps


def test_a_record_that_is_never_sampled_leaves_no_trace(run, terms, texts, monkeypatch):
    asked = set()
    honest = PerSampleGradients.__call__

    def watch(self, batch, labels):
        asked.update(batch.rows.tolist())
        return honest(self, batch, labels)

    monkeypatch.setattr(PerSampleGradients, "__call__", watch)
    monkeypatch.setattr(dp_sgd, "poisson_sample", lambda noise, *, count, rate: np.array([3, 5]))
    run(terms(steps=2))
    assert asked == {3, 5}


@pytest.mark.parametrize(
    ("sigma", "rate", "steps"),
    [(0.8, 0.05, 40), (1.5, 0.1, 100), (2.9, 0.5, 20), (1.1, 1.0, 3), (4.0, 0.5, 200)],
)
def test_epsilon_agrees_with_opacus_prv_and_is_below_its_renyi_bound(sigma, rate, steps):
    delta = 1e-5
    ours = epsilon([SampledGaussian(sigma, rate, steps)], delta=delta)
    prv, rdp = PRVAccountant(), RDPAccountant()
    for accountant in (prv, rdp):
        accountant.history = [(sigma, rate, steps)]
    assert ours == pytest.approx(prv.get_epsilon(delta, eps_error=0.01), abs=0.02)
    assert ours <= rdp.get_epsilon(delta) * 1.001
