"""Gradient checkpointing keeps each record's gradient, with both engines, in the one form used."""

import numpy as np
import pytest
import torch
from torch.utils import checkpoint

from fedethics.errors import TrainingError
from fedethics.policy.model import Compute
from fedethics.training import network
from fedethics.training.engines import ENGINES
from fedethics.training.learner import Learner
from fedethics.training.self_test import self_test
from tests.training.tiny_models import charter_for, save_tiny

KINDS = [
    ("bert", "classification"), ("distilbert", "classification"), ("llama", "classification"),
    ("llama", "causal-lm"), ("gpt2", "causal-lm"),
]  # fmt: skip


@pytest.fixture(scope="module", params=KINDS, ids=str)
def learner(request, tmp_path_factory):
    family, task = request.param
    folder = save_tiny(tmp_path_factory.mktemp("checkpointing"), family, task=task)
    charter = charter_for(folder, family, task=task)
    return Learner(charter, model_dir=folder, compute=Compute(checkpointing=True))


def samples(learner, engine, vector, texts, labels):
    batch = learner.activations(texts).together(np.arange(12))
    with learner.lock, ENGINES[engine](learner) as gradients:
        learner.load(vector)
        return batch, gradients(batch, labels)[0]


@pytest.mark.parametrize("engine", ENGINES)
def test_gradients_equal_a_loop_without_checkpointing_and_layers_run_twice(
    learner, engine, texts, labels, moved, monkeypatch
):
    calls = []
    learner.activations(texts)  # batch shapes are proven before anything is counted
    honest = network.checkpoint
    monkeypatch.setattr(
        network, "checkpoint",
        lambda plain, *a, **k: honest(lambda *b, **n: calls.append(1) or plain(*b, **n), *a, **k),
    )  # fmt: skip
    vector = moved(learner)
    batch, found = samples(learner, engine, vector, texts, labels)
    assert len(calls) == 2 * 2  # two trained layers
    calls.clear()
    activations = learner.activations(texts)
    with learner.plainly():
        for place, row in enumerate(batch.rows):
            one = activations.together(np.array([row]))
            loss = learner.losses(one, labels)[0]
            parts = torch.autograd.grad(loss, list(learner.parameters.values()))
            expected = torch.cat([part.reshape(-1) for part in parts])
            torch.testing.assert_close(found[place], expected, rtol=2e-4, atol=5e-6)
    assert not calls


@pytest.mark.parametrize("engine", ENGINES)
def test_the_reentrant_form_ends_in_an_error_and_no_gradient(
    learner, engine, texts, labels, moved, monkeypatch
):
    def reentrant(plain, *given, use_reentrant, preserve_rng_state, **named):
        def bound(*inner):
            return plain(*inner, **named)

        given[0].requires_grad_(True)  # or it would have nothing to do
        return checkpoint.checkpoint(bound, *given, use_reentrant=True)

    monkeypatch.setattr(network, "checkpoint", reentrant)
    with pytest.raises(
        (RuntimeError, TrainingError), match=r"not compatible|no trained layer|no gradient for each"
    ):
        samples(learner, engine, moved(learner), texts, labels)
    assert all(parameter.grad is None for parameter in learner.parameters.values())


def test_the_self_test_holds_the_checkpointed_engines_to_the_loop(learner, texts, labels, terms):
    activations = learner.activations(texts)
    result = self_test(learner, activations, labels, terms(noise_multiplier=1.0))
    assert result.gradient_error < 1e-4
    assert result.engines_apart < 1e-5
