"""Gradient checkpointing: a layer's inner states are computed again when backward needs them.

Only the non-reentrant form is used, around whole layers. Hugging Face's own switch stays refused
(guards.py): in its reentrant form a backward pass runs within the backward pass and leaves
gradients in parameters unclipped; and either form wants the layers in train mode, with dropout.
Source: Chen et al. 2016 (arXiv 1604.06174).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def checkpoint_layers(layers: Iterable[nn.Module], *, active: Callable[[], bool]) -> None:
    """Let each layer keep its input alone while `active()`; output and gradients stay the same."""
    for layer in layers:
        _wrap(layer, active)


def _wrap(layer: nn.Module, active: Callable[[], bool]) -> None:
    plain = layer.forward

    def forward(*given: Any, **named: Any) -> Any:  # noqa: ANN401  a layer's own
        if not (active() and torch.is_grad_enabled()):
            return plain(*given, **named)
        # No layer draws random numbers here (eval mode), so there is no generator to restore.
        return checkpoint(plain, *given, use_reentrant=False, preserve_rng_state=False, **named)

    vars(layer)["forward"] = forward
