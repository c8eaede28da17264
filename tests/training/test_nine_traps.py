"""Nine ways in which DP training breaks silently elsewhere, one test each.

Each was measured on the libraries underneath; here, on both tasks and with both engines, it must
end in the right numbers or an error.
"""

import numpy as np
import pytest
import torch
from torch import nn

from fedethics.errors import TrainingError
from fedethics.policy.model import Compute
from fedethics.privacy.noise import NoiseSource
from fedethics.training import dp_sgd, gradient_noise
from fedethics.training.activations import Activations
from fedethics.training.dp_sgd import train_round
from fedethics.training.engines import ENGINES, gradients_of
from fedethics.training.learner import Learner
from fedethics.training.self_test import self_test
from tests.training.tiny_models import charter_for, save_tiny


@pytest.fixture(
    scope="module",
    params=[
        (family, task, engine)
        for family, task in (("bert", "classification"), ("llama", "causal-lm"))
        for engine in ENGINES
    ],
    ids=str,
)
def fresh(request, tmp_path_factory):
    """Build a learner of its own, which a test may break."""
    family, task, engine = request.param
    folder = save_tiny(tmp_path_factory.mktemp("traps"), family, task=task)
    charter = charter_for(folder, family, task=task)
    compute = Compute(gradients=engine)
    return lambda: Learner(charter, model_dir=folder, compute=compute)


@pytest.fixture(scope="module")
def learner(fresh):
    return fresh()


@pytest.fixture
def train(learner, moved, texts, labels, terms, noise):
    """Train a round on the twelve records: `train(steps=3)`."""
    activations, vector = learner.activations(texts), moved(learner)

    def run(on=None, source=None, **changes):
        chosen, own = (activations, labels) if on is None else on
        return train_round(
            learner, vector=vector, activations=chosen, labels=own,
            terms=terms(**changes), noise=noise if source is None else source,
        )  # fmt: skip

    return run


def test_1_a_backward_that_nobody_clipped_never_reaches_the_update(
    learner, train, texts, labels, monkeypatch
):
    batch = learner.activations(texts).together(np.arange(12))
    clean = train(clipping_norm=1e-3).update
    # What a plain trainer does: a loss, and .backward() into every parameter's .grad.
    stray = 1e6 * learner.losses(batch, labels).sum()
    stray.backward()
    assert all(parameter.grad is not None for parameter in learner.parameters.values())
    dirty = train(clipping_norm=1e-3).update
    np.testing.assert_array_equal(clean, dirty)
    assert np.linalg.norm(dirty) <= 1e-3  # twelve records, divided by twelve, rate 1
    honest = dp_sgd.private_mean

    def after_a_stray_backward(*given, **named):
        learner.losses(batch, labels).sum().backward()
        return honest(*given, **named)

    monkeypatch.setattr(dp_sgd, "private_mean", after_a_stray_backward)
    with pytest.raises(TrainingError, match="besides the clipped one"):
        train(clipping_norm=1e-3)


def test_2_a_loss_that_couples_records_is_refused(
    fresh, learner, texts, labels, terms, moved, monkeypatch
):
    activations = learner.activations(texts)
    honest = Learner.losses
    with learner.lock, gradients_of(learner) as gradients:
        batch = activations.together(np.arange(12))
        monkeypatch.setattr(Learner, "losses", lambda *given: honest(*given).mean())
        with pytest.raises(TrainingError, match="one number for each record"):
            gradients(batch, labels)

    def by_the_tokens_of_the_batch(self, batch, labels):
        # The Hugging Face mean: a record's weight depends on how long the others are.
        lengths = torch.tensor([len(one) for one in batch.hidden])
        return honest(self, batch, labels) * lengths * len(lengths) / lengths.sum()

    monkeypatch.setattr(Learner, "losses", by_the_tokens_of_the_batch)
    with pytest.raises(TrainingError, match="differ from a loop"):
        self_test(learner, activations, labels, terms())


def test_3_a_step_without_records_needs_no_forward_pass(learner, train, monkeypatch):
    monkeypatch.setattr(Learner, "losses", None)  # a call would fail
    result = train(sampling_rate=1e-12, noise_multiplier=1.0, steps=2)
    assert result.stats.empty_steps == 2
    assert np.isfinite(result.update).all()


def test_4_an_empty_sample_is_not_filled_with_a_random_record(train, learner, texts, labels):
    private = {"sampling_rate": 1e-12, "noise_multiplier": 1.0}
    source = b"the same noise"
    update = train(source=NoiseSource.fixed(source), **private).update
    # Others' records in their place: the update does not move by one bit.
    others = learner.activations(tuple(reversed(texts))), 1 - labels
    again = train(source=NoiseSource.fixed(source), on=others, **private).update
    np.testing.assert_array_equal(update, again)


def test_5_noise_is_added_once_a_step_however_the_batch_is_split(train, monkeypatch):
    drawn = []
    honest = gradient_noise.gaussian

    def counted(noise, *, size, std):
        drawn.append(size)
        return honest(noise, size=size, std=std)

    monkeypatch.setattr(gradient_noise, "gaussian", counted)
    # Rate 0.05 of 12 records: most samples are empty, and stand between samples that are not.
    private = {"steps": 12, "sampling_rate": 0.05, "noise_multiplier": 1.0}
    updates = [
        train(source=NoiseSource.fixed(b"split"), physical_batch=size, **private)
        for size in (1, 5, 64)
    ]
    assert len(drawn) == 3 * 12
    assert {result.stats.steps for result in updates} == {12}
    assert 0 < updates[0].stats.empty_steps < 12
    for other in updates[1:]:
        np.testing.assert_allclose(other.update, updates[0].update, atol=5e-6)


def test_6_a_round_may_start_with_an_empty_sample(train, monkeypatch):
    samples = iter([np.array([], dtype=np.intp), np.array([0, 3])])
    monkeypatch.setattr(dp_sgd, "poisson_sample", lambda *_, **__: next(samples))
    result = train(steps=2)
    assert (result.stats.steps, result.stats.empty_steps) == (2, 1)
    assert result.update.any()


def test_7_one_record_that_is_not_finite_adds_zero_and_spoils_nobody(train, learner, texts, labels):
    hidden = list(learner.activations(texts).hidden)
    hidden[4] = torch.full_like(hidden[4], float("nan"))
    poisoned = train(on=(Activations(tuple(hidden)), labels))
    assert poisoned.stats.non_finite == 1
    others = [row for row in range(12) if row != 4]
    without = train(on=(learner.activations(texts).take(others), labels[others]))
    np.testing.assert_allclose(poisoned.update, without.update, atol=2e-6)


def test_8_a_seed_that_all_sites_share_does_not_give_them_the_same_noise(train):
    updates = []
    for _ in range(2):
        torch.manual_seed(42)
        np.random.seed(42)
        updates.append(train(source=NoiseSource.from_os(), noise_multiplier=10.0).update)
    spread = np.linalg.norm(updates[0] - updates[1])
    expected = np.sqrt(2 * updates[0].size) * 10.0 * 0.5 / 12.0
    assert spread == pytest.approx(expected, rel=0.3)


def test_9_a_trained_parameter_that_is_not_clipped_stops_the_round(
    fresh, texts, labels, terms, noise
):
    broken = fresh()
    layer = next(m for m in broken.model.modules() if type(m) is nn.Linear)
    layer.weight.requires_grad_(True)  # trained behind the engine's back
    activations = broken.activations(texts)
    with pytest.raises(TrainingError, match="not in the clipped vector"):
        self_test(broken, activations, labels, terms())
    name = next(iter(broken.parameters))
    missing = fresh()
    missing.parameters[name].requires_grad_(False)
    with pytest.raises(TrainingError, match=f"{name} has no gradient for each record"):
        train_round(
            missing, vector=missing.initial_vector(), activations=activations, labels=labels,
            terms=terms(), noise=noise,
        )  # fmt: skip


def test_the_tests_above_train_with_a_clipping_norm_that_bites(train):
    assert train(clipping_norm=1e-3).stats.clipped_fraction == 1.0


def test_a_stray_forward_pass_in_a_round_changes_no_gradient(learner, texts, labels, moved):
    activations = learner.activations(texts)
    batch = activations.together(np.arange(12))
    few = activations.together(np.arange(3))
    with learner.lock, gradients_of(learner) as gradients:
        learner.load(moved(learner))
        expected, _ = gradients(batch, labels)
        stray = learner.losses(few, labels)  # and no backward
        found, _ = gradients(batch, labels)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert stray.requires_grad


def test_after_a_pass_that_failed_the_next_one_is_right(learner, texts, labels, moved, monkeypatch):
    activations = learner.activations(texts)
    batch = activations.together(np.arange(12))
    with learner.lock, gradients_of(learner) as gradients:
        learner.load(moved(learner))
        expected, _ = gradients(batch, labels)
        with monkeypatch.context() as broken:
            broken.setattr(torch.autograd, "grad", lambda *_, **__: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                gradients(batch, labels)
        found, _ = gradients(batch, labels)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
