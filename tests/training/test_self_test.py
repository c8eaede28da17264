"""The start-up self-test passes on a sound machine and catches each way of being unsound."""

import dataclasses

import numpy as np
import pytest
from opacus.grad_sample.linear import compute_linear_grad_sample
from torch import nn

from fedethics.errors import TrainingError
from fedethics.policy.model import Compute
from fedethics.training import clipping, dp_sgd, gradient_noise, optimizers, per_sample
from fedethics.training.engines import ENGINES, AutogradGradients
from fedethics.training.learner import Learner
from fedethics.training.self_test import self_test


@pytest.fixture
def check(tiny, texts, labels, terms):
    learner = tiny(form="both", layers=(1, 2))
    activations = learner.activations(texts)
    private = terms(noise_multiplier=1.3, sampling_rate=0.5, optimizer="adam", learning_rate=0.01)

    def run(**changes):
        return self_test(learner, activations, labels, dataclasses.replace(private, **changes))

    return run


def test_a_sound_machine_passes_and_says_what_was_measured(check):
    result = check()
    assert result.records == 6
    assert result.parameters == 10
    assert result.gradient_error < 1e-5
    assert result.engines_apart < 1e-6
    assert result.noise_ratio == pytest.approx(1.0, abs=0.05)


def test_it_passes_with_few_records_and_without_noise(tiny, texts, labels, terms):
    learner = tiny()
    one = learner.activations(texts[:1])
    result = self_test(learner, one, labels[:1], terms())
    assert (result.records, result.noise_ratio) == (1, 1.0)


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.1])
def test_noise_of_another_size_is_caught(check, monkeypatch, factor):
    honest = gradient_noise.gaussian
    monkeypatch.setattr(
        gradient_noise,
        "gaussian",
        lambda noise, *, size, std: honest(noise, size=size, std=factor * std),
    )
    with pytest.raises(TrainingError, match="times the promised standard deviation"):
        check()


def test_noise_where_none_is_promised_is_caught(check, monkeypatch):
    monkeypatch.setattr(gradient_noise, "gaussian", lambda noise, *, size, std: noise.uniform(size))
    with pytest.raises(TrainingError, match="promise none"):
        check(noise_multiplier=0.0)


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_per_record_gradients_that_are_scaled_or_mixed_are_caught(check, monkeypatch, engine):
    honest = engine._collect
    for broken in (
        lambda self, n: honest(self, n) * 1.01,
        lambda self, n: honest(self, n).roll(1, dims=0),
        lambda self, n: (lambda each: each.mean(dim=0, keepdim=True).expand(each.shape))(
            honest(self, n)
        ),
    ):
        monkeypatch.setattr(engine, "_collect", broken)
        with pytest.raises(TrainingError, match="differ from a loop"):
            check()


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_two_engines_that_disagree_are_both_refused(check, monkeypatch, engine):
    honest = engine._collect
    # Within what float32 may be off against a loop; two engines on one batch agree better.
    monkeypatch.setattr(engine, "_collect", lambda self, n: honest(self, n) * 1.0005)
    with pytest.raises(TrainingError, match=r"this package's own differ by 5\.0e-04"):
        check()


def test_engines_that_disagree_in_the_sites_own_precision_are_refused(
    tiny_charter, tiny_folder, texts, labels, terms, monkeypatch
):
    learner = Learner(tiny_charter(), model_dir=tiny_folder, compute=Compute(dtype="bfloat16"))
    honest = per_sample._in_float32

    def as_the_hooks_do_by_themselves(layer, activations, backprops):
        return compute_linear_grad_sample(layer, activations, backprops)

    self_test(learner, learner.activations(texts), labels, terms())
    table = {**per_sample._Hooks.GRAD_SAMPLERS}
    assert table[nn.Linear] is honest
    table[nn.Linear] = as_the_hooks_do_by_themselves
    monkeypatch.setattr(per_sample._Hooks, "GRAD_SAMPLERS", table)
    with pytest.raises(TrainingError, match="this package's own differ by"):
        self_test(learner, learner.activations(texts), labels, terms())


def test_clipping_that_does_not_clip_is_caught(check, monkeypatch):
    monkeypatch.setattr(clipping, "_ROUNDING", -0.5)
    with pytest.raises(TrainingError, match="clipping bound does not hold"):
        check()


def test_a_trainable_tensor_outside_the_clipped_vector_is_caught(
    tiny_charter, tiny_folder, texts, labels, terms
):
    learner = Learner(tiny_charter(), model_dir=tiny_folder)
    activations = learner.activations(texts)
    next(p for n, p in learner.model.named_parameters() if "pooler" in n).requires_grad_(True)
    with pytest.raises(TrainingError, match="not in the clipped vector"):
        self_test(learner, activations, labels, terms())


@pytest.mark.parametrize("engine", ENGINES)
def test_a_layer_without_per_record_gradients_is_refused_by_name(
    engine, tiny_charter, tiny_folder, texts, labels, terms, noise, monkeypatch
):
    learner = Learner(tiny_charter(), model_dir=tiny_folder, compute=Compute(gradients=engine))
    name = next(iter(learner.parameters))
    tap, keep = AutogradGradients._add, per_sample._Hooks.capture_backprops_hook

    def forget(self, parameter, gradients):
        if parameter is not learner.parameters[name]:
            tap(self, parameter, gradients)

    def deaf(self, module, *given, **named):
        if module.weight is not learner.parameters[name]:
            keep(self, module, *given, **named)

    monkeypatch.setattr(AutogradGradients, "_add", forget)
    monkeypatch.setattr(per_sample._Hooks, "capture_backprops_hook", deaf)
    with pytest.raises(TrainingError, match=f"parameter {name} has no gradient for each record"):
        dp_sgd.train_round(
            learner,
            vector=learner.initial_vector(),
            activations=learner.activations(texts),
            labels=labels,
            terms=terms(),
            noise=noise,
        )


def test_a_tensor_that_never_moves_is_caught(check, monkeypatch):
    still = optimizers.Sgd(0.0, momentum=0.0)
    monkeypatch.setattr(dp_sgd, "optimizer_of", lambda terms: still)
    with pytest.raises(TrainingError, match="did not move"):
        check()


def test_the_self_test_leaves_labels_and_activations_as_they_were(check, labels):
    before = labels.copy()
    first, second = check(), check()
    assert first.gradient_error == second.gradient_error
    np.testing.assert_array_equal(labels, before)
