"""What training writes beside the tensors is what the release gate accepts, for every family."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fedethics.release.rules.adapter_config import adapter_config
from fedethics.training.learner import Learner
from tests.training.tiny_models import CONFIGS, DECODERS, charter_for, save_tiny

CASES = [
    *[(family, "classification") for family in CONFIGS],
    *[(family, "causal-lm") for family in DECODERS],
]


@pytest.mark.parametrize(("family", "task"), CASES)
def test_the_gate_accepts_the_configuration_that_training_writes(tmp_path, family, task):
    save_tiny(tmp_path, family, task=task)
    words = {"answer": "{label}", "negative": "no"} if task == "causal-lm" else {}
    charter = charter_for(tmp_path, family, task=task, **words)
    learner = Learner(charter, model_dir=tmp_path)
    learner.save_adapter(learner.initial_vector(), tmp_path / "adapter")
    rule = adapter_config(SimpleNamespace(charter=charter, path=tmp_path))
    assert rule.verdict == "pass", rule.sentence
