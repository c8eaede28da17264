"""`make gpu-check` in small, on the CPU: a federated run to its end, and skipped without a GPU."""

from __future__ import annotations

import dataclasses
import math
import sys

import pytest
import torch

from fedethics.policy.model import Compute
from fedethics.simulation.scenario import load
from tests.learning_tasks.tiny_chat import chat_charter, save_chat_model
from tools import gpu_check


@pytest.mark.slow
@pytest.mark.parametrize(
    "compute",
    [Compute(gradients="autograd"), Compute(checkpointing=True, devices=("cpu", "cpu"))],
    ids=["autograd", "checkpointing, two devices"],
)
def test_three_offices_train_a_tiny_decoder_and_the_gradients_are_the_cpus(compute, tmp_path):
    scenario, draft = load(gpu_check.ROOT / "examples" / "sft" / "letters.toml")
    model = save_chat_model(tmp_path / "model")
    tiny = chat_charter(model, truncation="prompt-start")
    done = gpu_check.federated(
        dataclasses.replace(scenario, model_dir=str(model)),
        dataclasses.replace(draft, model=tiny.model, adapter=tiny.adapter),
        tmp_path, records=90, rounds=1, compute=compute,
    )  # fmt: skip
    assert done.sound and done.apart < 1e-4 and min(done.tokens, done.step_ms) > 0.0
    assert math.isfinite(done.loss) and "ok, at most" in done.line()
    assert not dataclasses.replace(done, apart=0.5).sound


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_without_a_gpu_the_whole_check_is_skipped_by_name(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu_check"])
    assert gpu_check.main() == 0
    assert "skipped, PyTorch sees no CUDA device" in capsys.readouterr().out
