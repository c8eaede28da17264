"""Both engines' gradients against plain Opacus on the same batch, and what bfloat16 may change."""

import numpy as np
import pytest
import torch
from opacus.grad_sample import GradSampleHooks
from opacus.grad_sample.linear import compute_linear_grad_sample
from torch import nn

from fedethics.policy.model import Compute
from fedethics.training.dp_sgd import train_round
from fedethics.training.engines import ENGINES, engine_for, gradients_of
from fedethics.training.learner import Learner
from fedethics.training.self_test import self_test
from tests.training.tiny_models import charter_for, save_tiny

KINDS = [
    ("bert", "classification"), ("roberta", "classification"), ("llama", "classification"),
    ("llama", "causal-lm"), ("gpt2", "causal-lm"),
]  # fmt: skip


@pytest.fixture(scope="module", params=KINDS, ids=str)
def pair(request, tmp_path_factory):
    """The same model in float32 and under bfloat16 autocast."""
    family, task = request.param
    folder = save_tiny(tmp_path_factory.mktemp("opacus"), family, task=task)
    charter = charter_for(folder, family, task=task)
    return tuple(
        Learner(charter, model_dir=folder, compute=Compute(dtype=dtype))
        for dtype in ("float32", "bfloat16")
    )


def by(engine, learner, vector, batch, labels):
    with learner.lock, ENGINES[engine](learner) as gradients:
        learner.load(vector)
        return gradients(batch, labels)[0]


@pytest.mark.parametrize("engine", ENGINES)
def test_gradients_equal_those_of_opacus_as_its_users_set_it_up(engine, pair, texts, labels, moved):
    learner = pair[0]
    batch = learner.activations(texts).together(np.arange(12))
    found = by(engine, learner, moved(learner), batch, labels)

    for module in learner.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # Opacus wants train mode
    learner.model.train()
    hooks = GradSampleHooks(learner.model, loss_reduction="sum")
    learner.losses(batch, labels).sum().backward()
    theirs = [p.grad_sample.flatten(1) for p in learner.parameters.values()]
    hooks.cleanup()
    learner.model.eval()
    for parameter in learner.parameters.values():
        parameter.grad = None
    assert found.abs().max() > 1e-3
    torch.testing.assert_close(found, torch.cat(theirs, dim=1), rtol=1e-5, atol=1e-7)


def test_the_table_of_samplers_that_everybody_else_sees_is_opacus_own(pair):
    with ENGINES["opacus"](pair[0]):
        assert GradSampleHooks.GRAD_SAMPLERS[nn.Linear] is compute_linear_grad_sample


def test_both_engines_round_alike_under_bfloat16(pair, texts, labels, moved):
    half = pair[1]
    batch = half.activations(texts).together(np.arange(12))
    one, other = (by(name, half, moved(half), batch, labels) for name in ENGINES)
    assert one.dtype == other.dtype == torch.float32
    assert float((one - other).abs().max()) <= 1e-6 * float(one.abs().max())


@pytest.mark.parametrize("engine", ENGINES)
def test_bfloat16_rounds_products_and_nothing_else(engine, pair, texts, labels, moved):
    full, half = pair
    assert half.basis_hash == full.basis_hash  # a site's own choice, not a term of the charter
    assert {p.dtype for p in half.model.parameters()} == {torch.float32}
    batch = full.activations(texts).together(np.arange(12))
    exact = by(engine, full, moved(full), batch, labels)
    rounded = by(engine, half, moved(half), batch, labels)
    assert rounded.dtype == torch.float32
    off = (rounded - exact).norm(dim=1) / exact.norm(dim=1)
    assert 0 < float(off.max()) < 0.1
    # The cache is the same on every site, whatever it computes in.
    for one, other in zip(
        full.activations(texts).hidden, half.activations(texts).hidden, strict=True
    ):
        assert torch.equal(one, other)


def test_under_bfloat16_each_record_is_clipped_and_the_self_test_passes(
    pair, texts, labels, terms, moved, noise
):
    half = pair[1]
    activations = half.activations(texts)
    for row in range(3):
        one = train_round(
            half, vector=moved(half), activations=activations.take([row]), labels=labels[[row]],
            terms=terms(clipping_norm=1e-3, expected_batch=1.0), noise=noise,
        )  # fmt: skip
        assert np.linalg.norm(one.update) == pytest.approx(1e-3, rel=1e-3)
    private = terms(noise_multiplier=1.0, optimizer="adam", learning_rate=0.01)
    assert self_test(half, activations, labels, private).gradient_error < 1e-4


@pytest.mark.parametrize(
    ("chosen", "rows", "taken"),
    [
        ("auto", 128, "opacus"), ("auto", 127, "autograd"), ("auto", 1, "autograd"),
        ("opacus", 1, "opacus"), ("autograd", 640, "autograd"),
    ],
)  # fmt: skip
def test_a_site_chooses_the_engine_and_auto_takes_our_own_for_small_batches(
    chosen, rows, taken, tiny_charter, tiny_folder
):
    learner = Learner(
        tiny_charter(), model_dir=tiny_folder, compute=Compute(gradients=chosen)
    )  # texts of at most 16 tokens; how long the site's own are does not matter
    learner.rows = rows
    assert engine_for(learner) == taken
    with gradients_of(learner) as gradients:
        assert {type(one) for one in gradients.engines.values()} == {ENGINES[taken]}
