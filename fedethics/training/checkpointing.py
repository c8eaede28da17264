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
    vars(layer)["forward"] = _Checkpointed(layer.forward, active)


class _Checkpointed:
    """A layer's forward pass; an object and no closure, so that a copied model calls its own."""

    def __init__(self, plain: Callable[..., Any], active: Callable[[], bool]) -> None:
        self._plain, self._active = plain, active

    def __call__(self, *given: Any, **named: Any) -> Any:  # noqa: ANN401  a layer's own
        if not (self._active() and torch.is_grad_enabled()):
            return self._plain(*given, **named)
        # No layer draws random numbers here (eval mode), so there is no generator to restore.
        return checkpoint(
            self._plain, *given, use_reentrant=False, preserve_rng_state=False, **named
        )
