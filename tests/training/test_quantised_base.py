"""The base in eight bits: gradients of exactly that model, the same model at every site."""

import dataclasses

import numpy as np
import pytest
import torch
from peft import PeftModel
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from fedethics.errors import ModelError
from fedethics.policy.model import Compute
from fedethics.training.engines import ENGINES
from fedethics.training.learner import Learner
from fedethics.training.quantised import Int8Linear, digest
from fedethics.training.self_test import self_test
from tests.training.conftest import in_company
from tests.training.tiny_models import charter_for, save_tiny


def quantised(charter):
    model = dataclasses.replace(charter.model, quantisation="int8")
    return dataclasses.replace(charter, model=model)


@pytest.fixture(scope="module", params=["bert", "llama"])
def pair(request, tmp_path_factory):
    """The same charter with the base as it is and in eight bits."""
    folder = save_tiny(tmp_path_factory.mktemp("int8"), request.param)
    charter = charter_for(folder, request.param)
    learners = (Learner(one, model_dir=folder) for one in (charter, quantised(charter)))
    return folder, request.param, *learners


def rounded_by_hand(model):
    """Round the plain model's frozen linear weights with numpy, as the paper says."""
    for name, module in model.named_modules():
        kept = (".lora_", "modules_to_save", "original_module")
        if isinstance(module, nn.Linear) and not any(mark in name for mark in kept):
            weight = module.weight.detach().numpy()
            scale = np.abs(weight).max(axis=1, keepdims=True) / np.float32(127)
            codes = np.rint(weight / scale)
            assert np.abs(codes).max() == 127
            module.weight.data = torch.from_numpy(codes * scale)
    return model


@pytest.mark.parametrize("engine", ENGINES)
def test_gradients_equal_a_loop_over_records_of_the_model_rounded_by_hand(
    pair, engine, texts, labels, moved, tmp_path
):
    folder, family, plain, learner = pair
    vector = moved(learner)
    learner.save_adapter(vector, tmp_path)
    base = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    if family == "llama":
        base.config.pad_token_id = 0
    model = rounded_by_hand(PeftModel.from_pretrained(base, tmp_path, is_trainable=True).eval())
    named, tokenizer = dict(model.named_parameters()), AutoTokenizer.from_pretrained(folder)
    expected = []
    for text, label in zip(texts, labels, strict=True):
        tokens = tokenizer([text], truncation=True, max_length=20, return_tensors="pt")
        loss = torch.nn.functional.cross_entropy(model(**tokens).logits, torch.tensor([int(label)]))
        parts = torch.autograd.grad(loss, [named[name] for name in learner.parameters])
        expected.append(torch.cat([part.reshape(-1) for part in parts]))
    found = torch.empty(len(texts), learner.size)
    activations = learner.activations(texts)
    with learner.lock, ENGINES[engine](learner) as gradients:
        learner.load(vector)
        for batch in in_company(activations, np.arange(len(texts)), 5):
            found[torch.from_numpy(batch.rows)] = gradients(batch, labels)[0]
    torch.testing.assert_close(found, torch.stack(expected), rtol=2e-4, atol=5e-6)
    with plain.lock, ENGINES[engine](plain) as gradients:
        plain.load(vector)
        batch = plain.activations(texts).together(np.arange(12))
        unrounded = gradients(batch, labels)[0]
    assert float((unrounded - found[torch.from_numpy(batch.rows)]).abs().max()) > 1e-4


def test_every_site_gets_the_same_model_and_it_is_another_than_the_unquantised(pair):
    folder, family, plain, learner = pair
    again = Learner(quantised(charter_for(folder, family)), model_dir=folder)
    assert again.basis_hash == learner.basis_hash != plain.basis_hash
    layer = next(one for one in again.model.modules() if isinstance(one, Int8Linear))
    before = digest(again.model)
    layer.codes[0, 0] ^= 1
    assert digest(again.model) != before


def test_all_frozen_linear_weights_are_in_eight_bits_and_nothing_trained_is(pair):
    *_, learner = pair
    whole = [*learner.model.modules()]
    left = {
        name for name, one in learner.model.named_modules()
        if type(one) is nn.Linear and ".lora_" not in name and "modules_to_save" not in name
    }  # fmt: skip
    assert {one.codes.dtype for one in whole if isinstance(one, Int8Linear)} == {torch.int8}
    assert all("original_module" in name for name in left)
    assert {parameter.dtype for parameter in learner.parameters.values()} == {torch.float32}


def test_rounding_moves_scores_a_little(pair, texts, moved):
    *_, plain, learner = pair
    vector = moved(plain)
    scores = [one.scores(vector, one.activations(texts)) for one in (plain, learner)]
    assert 0 < np.abs(scores[0] - scores[1]).max() < 0.05


@pytest.mark.parametrize("compute", [Compute(), Compute(checkpointing=True, dtype="bfloat16")])
def test_the_self_test_passes_on_it(pair, compute, texts, labels, terms):
    folder, family, *_ = pair
    charter = quantised(charter_for(folder, family))
    learner = Learner(charter, model_dir=folder, compute=compute)
    result = self_test(learner, learner.activations(texts), labels, terms(noise_multiplier=1.0))
    assert result.gradient_error < 1e-4


def test_a_base_without_linear_layers_is_refused(tmp_path):
    folder = save_tiny(tmp_path, "gpt2", task="causal-lm")
    charter = quantised(charter_for(folder, "gpt2", task="causal-lm"))
    with pytest.raises(ModelError, match="no linear layers that could be quantised"):
        Learner(charter, model_dir=folder)
