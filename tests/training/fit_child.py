"""One step in a process of its own: prints by how many bytes its memory rose at the most."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from fedethics.policy.model import Compute
from fedethics.training.activations import Batch, Shape
from fedethics.training.engines import ENGINES
from fedethics.training.learner import Learner
from tests.training.tiny_models import charter_for


def status(key):
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def main(folder, rows, tokens, answer, checkpointing):
    torch.set_num_threads(1)
    charter = charter_for(
        folder, "llama", task="causal-lm", rank=8, form="ffa", targets=("q_proj", "v_proj")
    )
    learner = Learner(charter, model_dir=folder, compute=Compute(checkpointing=checkpointing))

    def step(rows, tokens, answer):
        def losses(batch, _labels):
            padded = learner._network.pad(list(batch.hidden))
            places = torch.arange(tokens - answer, tokens).repeat(rows)
            logits = learner._network.token_logits(
                padded, torch.arange(rows).repeat_interleave(answer), places
            )
            each = torch.nn.functional.cross_entropy(
                logits, torch.zeros(len(logits), dtype=torch.long), reduction="none"
            )
            return each.view(rows, answer).mean(dim=1)

        learner.losses = losses
        ids = tuple(torch.full((tokens,), 5) for _ in range(rows))
        shape = Shape(rows=rows, length=tokens, used=rows)
        engine(Batch(rows=np.arange(rows), hidden=ids, shape=shape), np.zeros(rows, dtype=np.int8))

    with ENGINES["autograd"](learner) as engine:
        step(2, 32, 8)  # what libraries load once
        held = status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
        step(rows, tokens, answer)
        sys.stdout.write(f"{status('VmHWM') - held}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:5]), sys.argv[5] == "True")
