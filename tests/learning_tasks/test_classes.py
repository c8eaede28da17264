"""Task "classification" with more than two classes, against plain Hugging Face and a loop."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from fedethics import charter_sums
from fedethics.charter.data_terms import LabelColumn
from fedethics.data.reading import read_records
from fedethics.errors import DataError
from fedethics.fairness.classes import Classes
from fedethics.training.clipping import clipped_sum
from fedethics.training.dp_sgd import site_of
from fedethics.training.engines import ENGINES, gradients_of
from fedethics.training.learner import Learner
from fedethics.training.self_test import self_test
from tests.training.conftest import in_company

LABELS = np.array([0, 1, 2, 3] * 3)
NAMES = ("none", "mild", "severe", "worst")


def charter_of(charter, *classes):
    label = LabelColumn(column="num", classes=classes)
    return dataclasses.replace(charter, data=dataclasses.replace(charter.data, label=label))


@pytest.fixture(scope="module")
def learner(tiny_charter, tiny_folder):
    return Learner(charter_of(tiny_charter(form="both"), *NAMES), model_dir=tiny_folder)


def whole_model(learner, vector, folder, tmp_path):
    """The uncached model with the saved adapter, as a stranger would load it."""
    learner.save_adapter(vector, tmp_path / "adapter")
    base = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=4)
    model = PeftModel.from_pretrained(base, tmp_path / "adapter", is_trainable=True).eval()
    return model, AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("engine", ENGINES)
def test_scores_losses_and_gradients_are_those_of_plain_peft_record_by_record(
    engine, learner, tiny_folder, texts, moved, tmp_path
):
    vector, activations = moved(learner), learner.activations(texts)
    model, tokenizer = whole_model(learner, vector, tiny_folder, tmp_path)
    named = dict(model.named_parameters())
    scores, losses, gradients = [], [], []
    for text, label in zip(texts, LABELS, strict=True):
        tokens = tokenizer([text], truncation=True, max_length=16, return_tensors="pt")
        found = model(**tokens, labels=torch.tensor([label]))
        parts = torch.autograd.grad(found.loss, [named[name] for name in learner.parameters])
        scores.append(found.logits.detach().double().softmax(dim=1)[0])
        losses.append(float(found.loss))
        gradients.append(torch.cat([part.reshape(-1) for part in parts]))
    ours = learner.scores(vector, activations)
    np.testing.assert_allclose(ours, torch.stack(scores).numpy(), rtol=1e-4)
    found = torch.empty(len(texts), learner.size)
    with learner.lock:
        learner.load(vector)
        with ENGINES[engine](learner) as each:
            for batch in in_company(activations, np.arange(12), 5):
                found[torch.from_numpy(batch.rows)] = each(batch, LABELS)[0]
        with torch.no_grad():
            own = learner.losses(activations.together(np.arange(12)), LABELS)
    np.testing.assert_allclose(own.numpy(), losses, rtol=1e-4)
    expected = torch.stack(gradients)
    assert expected.abs().amax(dim=1).min() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-6)


def test_the_self_test_passes_and_every_record_is_clipped(learner, texts, terms, moved):
    activations, norm = learner.activations(texts), 0.01
    assert self_test(learner, activations, LABELS, terms(clipping_norm=0.05)).records > 0
    with learner.lock, gradients_of(learner) as gradients:
        learner.load(moved(learner))
        site = site_of(
            learner, gradients, activations, LABELS, units=np.arange(12),
            terms=terms(clipping_norm=norm),
        )  # fmt: skip
        for row in range(12):
            one = clipped_sum(site, np.array([row]), terms=terms(clipping_norm=norm)).total
            assert 0 < float(one.norm()) <= norm * (1 + 1e-5)


def test_a_records_scores_are_the_same_bits_whoever_is_beside_it(learner, texts, moved):
    activations, vector = learner.activations(texts), moved(learner)
    whole = learner.scores(vector, activations)
    for row in range(12):
        assert np.array_equal(learner.scores(vector, activations.take([row]))[0], whole[row])


def test_cells_become_the_numbers_of_their_classes(tiny_charter, tmp_path):
    charter = charter_of(tiny_charter(), "none=0", "mild=1", "severe=2|3|4")
    row = {
        "age": "60", "sex": "Male", "cp": "asymptomatic", "exang": "TRUE", "oldpeak": "1",
        "thalch": "120", "chol": "200", "trestbps": "120", "fbs": "TRUE", "restecg": "normal",
    }  # fmt: skip
    names = [column.name for column in charter.data.columns]

    def read(*cells):
        path = tmp_path / "d.csv"
        lines = [",".join([*names, "num"])]
        lines += [",".join([*(row[name] for name in names), cell]) for cell in cells]
        path.write_text("\n".join(lines) + "\n")
        return read_records(path, charter.data, task="classification")

    assert read("0", "4", "1", "2").labels.tolist() == [0, 2, 1, 2]
    with pytest.raises(DataError, match="line 3, column num: unknown label; allowed: 0, 1, 2, 3"):
        read("0", "secret")
    with pytest.raises(DataError, match="agreed number in another spelling") as refused:
        read("1.0")
    assert "secret" not in str(refused.value)
    assert charter_sums.layout_of(charter).measured == Classes(("none", "mild", "severe"))
