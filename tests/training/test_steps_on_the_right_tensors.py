"""A step moves what the forward pass reads, each tensor as a plain loop over records does.

The field's best-known trap (opacus #820): the optimiser moves other tensors than the network reads,
with a normal loss and a normal epsilon.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn.functional import linear

from fedethics.errors import TrainingError
from fedethics.policy.model import Compute
from fedethics.training import check, dp_sgd
from fedethics.training.check_bench import Bench
from fedethics.training.engines import ENGINES
from fedethics.training.guards import expected_step, require_expected_step, require_read
from fedethics.training.learner import Learner
from tests.training.tiny_models import charter_for, save_tiny

CASES = [
    ("bert", "classification", "both"),
    ("gpt2", "classification", "ffa"),
    ("llama", "causal-lm", "alternating"),
]


def bench_of(folder, family, task="classification", form="both", **compute):
    save_tiny(folder, family, task=task)
    charter = charter_for(folder, family, task=task, form=form)
    return Bench.of(charter, Learner(charter, model_dir=folder, compute=Compute(**compute)))


@pytest.fixture
def bench(tmp_path):
    return bench_of(tmp_path, "bert")


def with_engine(bench, engine):
    learner = bench.learner
    learner.compute = dataclasses.replace(learner.compute, gradients=engine)
    return bench


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("family", "task", "form"), CASES)
def test_a_sound_step_passes_with_either_engine(tmp_path, family, task, form, engine):
    said = check._misplaced(with_engine(bench_of(tmp_path, family, task, form), engine))
    assert "moved as a loop tells" in said


def test_a_sound_step_passes_in_bfloat16(tmp_path):
    assert "moved as a loop" in check._misplaced(bench_of(tmp_path, "bert", dtype="bfloat16"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_sound_step_passes_on_a_gpu(tmp_path):
    assert "moved as a loop" in check._misplaced(bench_of(tmp_path, "bert", device="cuda"))


def owner(learner, name):
    place, _, last = name.rpartition(".")
    return learner.model.get_submodule(place), last


def of_its_own(bench, name):
    """The layer has memory of its own, as when a model is moved after its optimiser was made."""
    module, last = owner(bench.learner, name)
    module._parameters[last] = torch.nn.Parameter(bench.learner.parameters[name].detach().clone())


def stale(bench, name):
    """The layer computes with numbers that were copied once."""
    module, _ = owner(bench.learner, name)
    kept = bench.learner.parameters[name].detach().clone()
    module.register_forward_hook(lambda _module, inputs, _output: linear(inputs[0], kept))


def frozen(bench, name):
    module, last = owner(bench.learner, name)
    getattr(module, last).requires_grad_(False)


@pytest.mark.parametrize("spoil", [of_its_own, stale, frozen])
@pytest.mark.parametrize("place", [0, 3, -1])
def test_a_tensor_that_the_network_does_not_read_is_named(bench, spoil, place):
    names = [n for n in bench.learner.parameters if ".lora_" in n]
    spoil(bench, names[place])
    with pytest.raises((TrainingError, RuntimeError)) as caught:
        check._misplaced(bench)
    if isinstance(caught.value, TrainingError):
        named = (
            "other memory",
            "does not read",
            "not in the vector",
            "moved differently",
            "no gradient",
        )
        assert any(said in str(caught.value) for said in named)


@pytest.mark.parametrize("change", ["half a step", "another tensor's", "still", "the other way"])
def test_a_tensor_that_moves_otherwise_than_expected_is_named(bench, monkeypatch, change):
    honest = dp_sgd.private_mean
    sizes = [p.numel() for p in bench.learner.parameters.values()]
    last = slice(sum(sizes) - sizes[-1], sum(sizes))

    def wrong(total, mask, *, terms, noise):
        mean = honest(total, mask, terms=terms, noise=noise)
        mean[last] = {
            "half a step": 0.5 * mean[last], "another tensor's": mean[: sizes[-1]].clone(),
            "still": torch.zeros(sizes[-1]), "the other way": -mean[last],
        }[change]  # fmt: skip
        return mean

    monkeypatch.setattr(dp_sgd, "private_mean", wrong)
    with pytest.raises(TrainingError, match=r"moved differently|did not move"):
        check._misplaced(bench)


def test_a_vector_that_is_longer_than_the_tensors_or_in_another_order_is_refused(bench):
    learner = bench.learner
    require_read(learner.model, learner.parameters, learner.flat)
    turned = dict(reversed(learner.parameters.items()))
    with pytest.raises(TrainingError, match="other memory"):
        require_read(learner.model, turned, learner.flat)
    with pytest.raises(TrainingError, match="other memory"):
        require_read(learner.model, learner.parameters, learner.flat.clone())
    longer = torch.cat([learner.flat, learner.flat])
    with pytest.raises(TrainingError):
        require_read(learner.model, learner.parameters, longer)


def test_the_expected_step_clips_each_record_and_leaves_alone_what_is_not_trained():
    gradients = torch.tensor([[3.0, 4.0, 7.0], [0.3, 0.4, 7.0]])
    mask = np.array([True, True, False])
    expected = expected_step(gradients, mask, clipping_norm=1.0, expected_batch=2.0)
    assert np.allclose(expected, [-(0.6 + 0.3) / 2, -(0.8 + 0.4) / 2, 0.0])
    whole = {"a": torch.nn.Parameter(torch.zeros(2)), "b": torch.nn.Parameter(torch.zeros(1))}
    update, start = expected.astype(np.float32), np.zeros(3, np.float32)
    assert require_expected_step(update, expected, whole, vector=start, tolerance=1e-6) < 1e-6
    update[2] = 0.1
    with pytest.raises(TrainingError, match="b moved differently"):
        require_expected_step(update, expected, whole, vector=start, tolerance=1e-6)


def test_a_grid_and_eight_bits_are_allowed_for_and_no_more():
    expected = np.array([1.0, -1.0, 1e-3, 0.0])
    whole = {name: torch.nn.Parameter(torch.zeros(2)) for name in ("a", "b")}
    start = np.zeros(4, np.float32)

    def off(by, **allowed):
        update = (expected + np.array([0, 0, by, 0])).astype(np.float32)
        return require_expected_step(
            update, expected, whole, vector=start, tolerance=0.05, **allowed
        )  # fmt: skip

    for by, allowed in ((4e-5, {}), (2e-4, {"grid": 2e-4}), (9e-4, {"small": 0.02})):
        assert off(by, **allowed) > 0.0
        with pytest.raises(TrainingError, match="b moved differently"):
            off(2 * by, **allowed)
