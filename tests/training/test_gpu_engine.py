"""The engine on a GPU computes what it computes on the CPU; skipped by name where there is none."""

import numpy as np
import pytest
import torch

from fedethics.policy.model import Compute
from fedethics.privacy.noise import NoiseSource
from fedethics.training.dp_sgd import train_round
from fedethics.training.engines import ENGINES
from fedethics.training.learner import Learner
from fedethics.training.self_test import self_test
from tests.training.tiny_models import charter_for, save_tiny

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]
KINDS = [
    ("bert", "classification"), ("roberta", "classification"), ("llama", "classification"),
    ("llama", "causal-lm"), ("gpt2", "causal-lm"),
]  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_round_on_the_gpu_is_the_round_on_the_cpu(
    kind, dtype, engine, tmp_path, texts, labels, terms, moved
):
    family, task = kind
    charter = charter_for(save_tiny(tmp_path, family, task=task), family, task=task)
    updates = []
    for device in ("cpu", "cuda"):
        learner = Learner(
            charter,
            model_dir=tmp_path,
            compute=Compute(device=device, dtype=dtype, gradients=engine),
        )
        activations = learner.activations(texts)
        private = terms(steps=2, noise_multiplier=1.0)
        self_test(learner, activations, labels, private)
        result = train_round(
            learner, vector=moved(learner), activations=activations, labels=labels,
            terms=private, noise=NoiseSource.fixed(b"same"),
        )  # fmt: skip
        updates.append(result.update)
    tolerance = 1e-3 if dtype == "float32" else 3e-2
    np.testing.assert_allclose(updates[0], updates[1], atol=tolerance)
