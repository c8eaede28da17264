"""One private LoRA step by both engines, beside the plain step and three modes of Opacus.

All variants take the gradients of the same records in one padded batch and update the same
parameters, interleaved in one process on one thread; figures are the least CPU seconds of
several runs, and ratios.
"""

from __future__ import annotations

import argparse
import functools
import json
import warnings
from collections.abc import Callable

import numpy as np
import torch
from opacus.grad_sample import GradSampleHooks
from opacus.grad_sample.grad_sample_module_fast_gradient_clipping import (
    GradSampleHooksFastGradientClipping,
)
from opacus.optimizers import DPOptimizer
from opacus.optimizers.optimizer_fast_gradient_clipping import DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPTensorFastGradientClipping
from torch import nn

from fedethics.training.activations import Activations, Batch
from fedethics.training.learner import Learner
from tools.bench.training import (
    keep_memory,
    labels_of,
    learner_of,
    least,
    plain_step,
    private_step,
    records,
)

NORM = 1.0


def main() -> None:
    """Print seconds and ratios of one model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=("minilm", "minilm-short", "smollm2"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help='variants with this word, such as "engine"')
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    warnings.filterwarnings("ignore", message="Full backward hook is firing")
    figures = measure(chosen.model, chosen.repeats, chosen.only)
    print(json.dumps(figures, indent=2) if chosen.json else _lines(figures))


def measure(model: str, repeats: int, only: str) -> dict[str, float]:
    """Return seconds and ratios: every layer's query and value adapted, rank 8."""
    charter, layers, count, tokens = {
        "minilm": ("heart", 6, 32, 128),
        "minilm-short": ("heart", 6, 4, 32),
        "smollm2": ("heart-sft", 30, 8, 256),
    }[model]
    learner = learner_of(charter, range(layers))
    batch = records([tokens] * count)
    for module in learner.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # Opacus wants train mode
    variants: dict[str, Callable[[], object]] = {
        "engine opacus": lambda: private_step(learner, batch, physical=count, engine="opacus"),
        "engine autograd": lambda: private_step(learner, batch, physical=count, engine="autograd"),
        "Opacus hooks": lambda: hooks_step(learner, batch, functorch=False),
        "Opacus functorch": lambda: hooks_step(learner, batch, functorch=True),
        "Opacus ghost": lambda: ghost_step(learner, batch),
    }
    variants = {name: run for name, run in variants.items() if only in ("", *name.split())}
    variants["non-private"] = lambda: plain_step(learner, batch)
    variants = {name: functools.partial(_training, learner, run) for name, run in variants.items()}
    seconds = least(variants, repeats)
    plain = seconds["non-private"]
    return {
        **{f"{model}: CPU s, {name}": value for name, value in seconds.items()},
        **{
            f"{model}: {name} over non-private": value / plain
            for name, value in seconds.items()
            if name != "non-private"
        },
    }


def hooks_step(learner: Learner, activations: Activations, *, functorch: bool) -> None:
    """Take a step with per-record gradients from Opacus's hooks."""
    hooks = GradSampleHooks(learner.model, loss_reduction="mean", force_functorch=functorch)
    optimizer = DPOptimizer(_sgd(learner), **_terms(len(activations)))
    _losses(learner, activations).mean().backward()
    optimizer.step()
    optimizer.zero_grad()
    hooks.cleanup()


def ghost_step(learner: Learner, activations: Activations) -> None:
    """Take a step with ghost clipping: norms first, then a second backward pass."""
    hooks = GradSampleHooksFastGradientClipping(
        learner.model, loss_reduction="mean", max_grad_norm=NORM, use_ghost_clipping=True
    )
    optimizer = DPOptimizerFastGradientClipping(_sgd(learner), **_terms(len(activations)))
    losses = _losses(learner, activations)
    DPTensorFastGradientClipping(hooks, optimizer, losses, "mean").backward()
    optimizer.step()
    optimizer.zero_grad()
    hooks.cleanup()


def _losses(learner: Learner, activations: Activations) -> torch.Tensor:
    batch = Batch(rows=np.arange(len(activations)), hidden=activations.hidden)
    return learner.losses(batch, labels_of(len(activations)))


def _sgd(learner: Learner) -> torch.optim.Optimizer:
    return torch.optim.SGD(learner.parameters.values(), lr=0.0)


def _terms(count: int) -> dict[str, float]:
    return {"noise_multiplier": 1.0, "max_grad_norm": NORM, "expected_batch_size": count}


def _training(learner: Learner, run: Callable[[], object]) -> None:
    learner.model.train()
    run()
    learner.model.eval()


def _lines(figures: dict[str, float]) -> str:
    return "\n".join(f"{name:50s} {value:10.4f}" for name, value in figures.items())


if __name__ == "__main__":
    main()
