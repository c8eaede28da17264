"""What training writes beside the tensors is what the release gate accepts, for every family."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from peft import AutoPeftModelForCausalLM, AutoPeftModelForSequenceClassification, PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from fedethics.release.rules.adapter import adapter_config
from fedethics.training.learner import Learner
from tests.training.tiny_models import CONFIGS, DECODERS, charter_for, save_tiny

CASES = [
    *[(family, "classification") for family in CONFIGS],
    *[(family, "causal-lm") for family in DECODERS],
]


KINDS = {
    "classification": (AutoModelForSequenceClassification, AutoPeftModelForSequenceClassification),
    "causal-lm": (AutoModelForCausalLM, AutoPeftModelForCausalLM),
}


def saved(folder, family, task, **adapter):
    """The charter and learner of a tiny model whose adapter was written, away from its start."""
    save_tiny(folder, family, task=task)
    words = {"answer": "{label}", "negative": "no"} if task == "causal-lm" else {}
    charter = charter_for(folder, family, task=task, **words, **adapter)
    learner = Learner(charter, model_dir=folder)
    shift = 0.1 * np.random.default_rng(3).standard_normal(learner.size)
    learner.save_adapter((learner.initial_vector() + shift).astype(np.float32), folder / "adapter")
    return charter, learner


def said(folder):
    return json.loads((folder / "adapter" / "adapter_config.json").read_text())


@pytest.mark.parametrize(("family", "task"), CASES)
def test_the_configuration_names_each_module_once_and_none_that_is_not_there(
    tmp_path, family, task
):
    charter, _ = saved(tmp_path, family, task)
    config = said(tmp_path)
    model = KINDS[task][0].from_pretrained(tmp_path)
    there = {name for name, _ in model.named_children()}
    heads = config["modules_to_save"] or []
    assert len(set(heads)) == len(heads) and set(heads) <= there - {model.base_model_prefix}
    assert bool(heads) == (task == "classification")
    held = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    whole = {name.split(".")[2] for name in held if ".lora_" not in name}
    assert whole == set(heads)
    assert type(config["lora_alpha"]) is int and config["lora_alpha"] == charter.adapter.alpha


def test_an_alpha_that_is_no_whole_number_is_kept_as_it_is(tmp_path):
    saved(tmp_path, "bert", "classification", alpha=2.5)
    assert said(tmp_path)["lora_alpha"] == 2.5


LOADED = [
    *[(family, "classification") for family in ("bert", "roberta", "distilbert", "llama")],
    *[(family, "causal-lm") for family in ("gpt2", "qwen3")],
]


@pytest.mark.parametrize(("family", "task"), LOADED)
def test_plain_peft_loads_the_folder_and_computes_what_training_does(
    tmp_path, monkeypatch, family, task
):
    folder = tmp_path / "tiny"  # the charter's name of the model, which the folder holds
    saved(folder, family, task)
    monkeypatch.chdir(tmp_path)
    plain, automatic = KINDS[task]
    more = {"num_labels": 2} if task == "classification" else {}
    once = PeftModel.from_pretrained(plain.from_pretrained(folder, **more), folder / "adapter")
    twice = automatic.from_pretrained(str(folder / "adapter"))
    # Written by peft and read again: nothing was lost on the way.
    once.save_pretrained(tmp_path / "again")
    third = PeftModel.from_pretrained(plain.from_pretrained(folder, **more), tmp_path / "again")
    ids = torch.tensor([[2, 4, 5, 6, 7, 3]])
    with torch.no_grad():
        first, *others = (one.eval()(input_ids=ids).logits for one in (once, twice, third))
        base = plain.from_pretrained(folder, **more).eval()(input_ids=ids).logits
    assert all(torch.equal(first, other) for other in others)
    assert not torch.allclose(first, base)
    held = load_file(folder / "adapter" / "adapter_model.safetensors")
    again = load_file(tmp_path / "again" / "adapter_model.safetensors")
    assert held.keys() == again.keys()
    assert all(torch.equal(held[name], again[name]) for name in held)


@pytest.mark.parametrize(("family", "task"), CASES)
def test_the_gate_accepts_the_configuration_that_training_writes(tmp_path, family, task):
    charter, _ = saved(tmp_path, family, task)
    rule = adapter_config(SimpleNamespace(charter=charter, path=tmp_path))
    assert rule.verdict == "pass", rule.sentence
