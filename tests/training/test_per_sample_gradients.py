"""Per-record gradients against plain autograd on the whole, uncached model loaded by plain peft."""

import numpy as np
import pytest
import torch
from peft import PeftModel
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from fedethics.training.engines import ENGINES
from tests.training.conftest import in_company

FORMS = [
    {"layers": (2,), "form": "ffa"},
    {"layers": (2,), "form": "both"},
    {"layers": (1, 2), "form": "both"},
    {"layers": (0, 1, 2), "form": "ffa"},
    {"layers": (1,), "form": "ffa"},
    {"layers": (2,), "form": "both", "targets": ("query", "key", "value", "dense")},
]


def whole_model(learner, vector, folder, tmp_path):
    """The uncached model, as a stranger would load it."""
    learner.save_adapter(vector, tmp_path / "adapter")
    base = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    model = PeftModel.from_pretrained(base, tmp_path / "adapter", is_trainable=True).eval()
    return model, AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_gradients_from_the_cache_equal_a_loop_over_records_of_the_whole_network(
    form, engine, tiny, tiny_folder, texts, labels, moved, tmp_path
):
    learner = tiny(**form)
    vector = moved(learner)
    model, tokenizer = whole_model(learner, vector, tiny_folder, tmp_path)
    named = dict(model.named_parameters())
    expected = []
    for text, label in zip(texts, labels, strict=True):
        tokens = tokenizer([text], truncation=True, max_length=16, return_tensors="pt")
        loss = torch.nn.functional.cross_entropy(model(**tokens).logits, torch.tensor([int(label)]))
        parts = torch.autograd.grad(loss, [named[name] for name in learner.parameters])
        expected.append(torch.cat([part.reshape(-1) for part in parts]))

    activations = learner.activations(texts)
    found = torch.empty(len(texts), learner.size)
    learner.load(vector)
    with ENGINES[engine](learner) as gradients:
        for batch in in_company(activations, np.arange(len(texts)), 5):
            found[torch.from_numpy(batch.rows)] = gradients(batch, labels)[0]
    expected = torch.stack(expected)
    assert expected.abs().amax(dim=1).min() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_saved_adapter_loads_in_plain_peft_and_scores_the_same(
    form, tiny, tiny_folder, texts, moved, tmp_path
):
    learner = tiny(**form)
    vector = moved(learner)
    model, tokenizer = whole_model(learner, vector, tiny_folder, tmp_path)
    tokens = tokenizer(
        list(texts), truncation=True, max_length=16, padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        expected = model(**tokens).logits.softmax(dim=1)[:, 1].numpy()
    scores = learner.scores(vector, learner.activations(texts))
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(scores, expected, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_hooks_are_gone_after_a_round_and_scoring_is_unchanged(engine, tiny, texts, labels, moved):
    learner = tiny()
    activations = learner.activations(texts)
    vector = moved(learner)
    before = learner.scores(vector, activations)
    learner.load(vector)
    with ENGINES[engine](learner) as gradients:
        for batch in in_company(activations, np.arange(4), 4):
            gradients(batch, labels)
    assert not hasattr(learner.model, "autograd_grad_sample_hooks")
    assert all(not hasattr(p, "grad_sample") for p in learner.parameters.values())
    for module in learner.model.modules():
        assert not module.training
        assert not hasattr(module, "activations")  # they determine the text
        assert type(module) is not nn.Linear or "forward" not in vars(module)
    np.testing.assert_array_equal(learner.scores(vector, activations), before)
