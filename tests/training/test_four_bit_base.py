"""The base in four bits (NF4): bitsandbytes' own codes, and gradients of exactly that model."""

import dataclasses
import importlib
import sys

import numpy as np
import pytest
import torch
from peft import PeftModel
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from fedethics.errors import ModelError
from fedethics.policy.model import Compute
from fedethics.training import guards, quantised
from fedethics.training.engines import ENGINES
from fedethics.training.learner import Learner
from fedethics.training.quantised import Nf4Linear, digest
from fedethics.training.self_test import self_test
from tests.training.conftest import in_company
from tests.training.tiny_models import charter_for, save_tiny


def four_bits(charter):
    model = dataclasses.replace(charter.model, quantisation="nf4")
    return dataclasses.replace(charter, model=model)


def test_without_the_package_it_is_refused_by_name(tmp_path, monkeypatch):
    # What Python makes of a package that is not there.
    monkeypatch.setitem(sys.modules, "bitsandbytes.functional", None)
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setattr(quantised, "_bitsandbytes", quantised._bitsandbytes.__wrapped__)
    folder = save_tiny(tmp_path, "bert")
    with pytest.raises(ModelError, match=r'pip install "fedethics\[nf4\]"'):
        Learner(four_bits(charter_for(folder, "bert")), model_dir=folder)


@pytest.fixture(scope="module")
def library():
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    return importlib.import_module("bitsandbytes.functional")


@pytest.fixture(scope="module", params=["bert", "llama"])
def pair(request, library, tmp_path_factory):
    """A folder, its family, and a learner on it in four bits."""
    folder = save_tiny(tmp_path_factory.mktemp("nf4"), request.param)
    return (
        folder,
        request.param,
        Learner(four_bits(charter_for(folder, request.param)), model_dir=folder),
    )


def in_the_library(library, weight):
    """Return what bitsandbytes' codes of a weight mean, read one by one.

    Not by its own `dequantize_4bit`: on a CPU, version 0.50.2 reads another scale wherever a row is
    no multiple of 64 long (tested below).
    """
    codes, state = library.quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
    scales = library.dequantize_blockwise(state.absmax, state.state2) + state.offset
    places = torch.stack([codes.view(-1) >> 4, codes.view(-1) & 15], dim=1).view(-1).long()
    values = state.code[places].view(-1, 64) * scales[:, None]
    return values.view(weight.shape)


def test_rows_that_are_no_multiple_of_64_are_read_right_whatever_the_library_does(library):
    torch.manual_seed(0)
    plain = nn.Linear(32, 64)
    plain.weight.data.normal_()
    codes, state = library.quantize_4bit(plain.weight.detach(), quant_type="nf4")
    wanted = in_the_library(library, plain.weight.detach())
    torch.testing.assert_close(Nf4Linear(plain).whole_weight(), wanted, rtol=0, atol=1e-6)
    by_rows = library.dequantize_4bit(codes, state)
    if torch.allclose(by_rows, wanted, atol=0.2):
        pytest.fail("bitsandbytes reads such rows right now: say so in `in_the_library`")


@pytest.mark.parametrize("shape", [(64, 64), (96, 64), (32, 14), (512, 640)])
def test_a_layer_is_bitsandbytes_own_layer(library, shape):
    torch.manual_seed(0)
    plain = nn.Linear(*shape[::-1])
    ours, theirs = Nf4Linear(plain), in_the_library(library, plain.weight.detach())
    torch.testing.assert_close(ours.whole_weight(), theirs, rtol=0, atol=1e-6)
    assert (
        0.05 < float((theirs - plain.weight.detach()).norm() / plain.weight.detach().norm()) < 0.15
    )
    inputs = torch.randn(3, 5, shape[1], requires_grad=True)
    outputs = ours(inputs)
    weight = ours.whole_weight()
    assert torch.equal(outputs, nn.functional.linear(inputs, weight, plain.bias))
    (given,) = torch.autograd.grad(outputs.square().sum(), inputs)
    assert torch.equal(given, (2 * outputs.detach()) @ weight)


def test_rows_of_odd_length_have_weights_near_their_own(library):
    torch.manual_seed(0)
    plain = nn.Linear(7, 33)
    weight = Nf4Linear(plain).whole_weight()
    assert weight.shape == (33, 7)
    assert float((weight - plain.weight.detach()).norm() / plain.weight.detach().norm()) < 0.15


def test_codes_do_not_depend_on_the_number_of_threads(library):
    torch.manual_seed(0)
    plain, threads = nn.Linear(1024, 1024), torch.get_num_threads()
    found = []
    for count in (1, 3):
        torch.set_num_threads(count)
        try:
            found.append(digest(nn.Sequential(Nf4Linear(plain))))
        finally:
            torch.set_num_threads(threads)
    assert found[0] == found[1]


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("engine", ENGINES)
def test_gradients_equal_a_loop_over_records_of_the_model_that_bitsandbytes_rounds(
    pair, library, engine, checkpointing, texts, labels, moved, tmp_path
):
    folder, family, _ = pair
    learner = Learner(
        four_bits(charter_for(folder, family)), model_dir=folder,
        compute=Compute(checkpointing=checkpointing, gradients=engine),
    )  # fmt: skip
    vector = moved(learner)
    learner.save_adapter(vector, tmp_path)
    base = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    if family == "llama":
        base.config.pad_token_id = 0
    model = PeftModel.from_pretrained(base, tmp_path, is_trainable=True).eval()
    for name, module in model.named_modules():
        kept = (".lora_", "modules_to_save", "original_module")
        if isinstance(module, nn.Linear) and not any(mark in name for mark in kept):
            module.weight.data = in_the_library(library, module.weight.detach())
    named, tokenizer = dict(model.named_parameters()), AutoTokenizer.from_pretrained(folder)
    expected = []
    for text, label in zip(texts, labels, strict=True):
        tokens = tokenizer([text], truncation=True, max_length=20, return_tensors="pt")
        loss = nn.functional.cross_entropy(model(**tokens).logits, torch.tensor([int(label)]))
        parts = torch.autograd.grad(loss, [named[name] for name in learner.parameters])
        expected.append(torch.cat([part.reshape(-1) for part in parts]))
    found = torch.empty(len(texts), learner.size)
    activations = learner.activations(texts)
    with learner.lock, ENGINES[engine](learner) as gradients:
        learner.load(vector)
        for batch in in_company(activations, np.arange(len(texts)), 5):
            found[torch.from_numpy(batch.rows)] = gradients(batch, labels)[0]
    assert float(found.abs().max()) > 1e-3
    torch.testing.assert_close(found, torch.stack(expected), rtol=2e-4, atol=5e-6)


def test_every_site_gets_the_same_model_and_its_hash_covers_codes_and_constants(pair):
    folder, family, learner = pair
    plain = charter_for(folder, family)
    again = Learner(four_bits(plain), model_dir=folder)
    eight = dataclasses.replace(plain.model, quantisation="int8")
    others = [Learner(one, model_dir=folder).basis_hash for one in (
        plain, dataclasses.replace(plain, model=eight)
    )]  # fmt: skip
    assert again.basis_hash == learner.basis_hash and learner.basis_hash not in others
    layer = next(one for one in again.model.modules() if isinstance(one, Nf4Linear))
    before = digest(again.model)
    with torch.no_grad():
        for part in layer.constants():
            kept = part.clone()
            part.view(-1)[0] += 1
            assert digest(again.model) != before
            part.copy_(kept)
    assert digest(again.model) == before


def test_what_is_trained_and_what_is_scored_stay_float32(pair):
    *_, learner = pair
    assert {parameter.dtype for parameter in learner.parameters.values()} == {torch.float32}
    layers = [one for one in learner.model.modules() if isinstance(one, Nf4Linear)]
    assert layers and all(one.codes.dtype == torch.uint8 for one in layers)


@pytest.mark.parametrize("compute", [Compute(), Compute(checkpointing=True, dtype="bfloat16")])
def test_the_self_test_passes_on_it(pair, compute, texts, labels, terms):
    folder, family, _ = pair
    charter = four_bits(charter_for(folder, family))
    learner = Learner(charter, model_dir=folder, compute=compute)
    result = self_test(learner, learner.activations(texts), labels, terms(noise_multiplier=1.0))
    assert result.gradient_error < 1e-4 and not result.alone


def test_a_library_without_a_kernel_for_the_device_is_refused(library, monkeypatch):
    def no_kernel(*_given, **_named):
        raise NotImplementedError("no kernel")

    monkeypatch.setattr(library, "dequantize_4bit", no_kernel)
    with pytest.raises(ModelError, match="cannot read four-bit weights on device 'cpu'"):
        Nf4Linear.require(torch.device("cpu"))


def test_a_library_that_reads_wrong_weights_is_refused(library, monkeypatch):
    right = library.dequantize_4bit
    monkeypatch.setattr(library, "dequantize_4bit", lambda *given: -right(*given))
    with pytest.raises(ModelError, match="wrong weights"):
        Nf4Linear.require(torch.device("cpu"))


def test_parameters_that_another_library_quantised_are_still_refused(library, tmp_path):
    folder = save_tiny(tmp_path, "llama", task="causal-lm")
    model = AutoModelForCausalLM.from_pretrained(folder)
    layer = model.model.layers[0].mlp.down_proj
    frozen = nn.Parameter(torch.zeros(8, 1, dtype=torch.uint8), requires_grad=False)
    layer.weight = frozen
    assert "uint8" in " ".join(guards._quantised(model))
