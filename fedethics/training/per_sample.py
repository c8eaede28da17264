"""One gradient for each record, from Opacus's hooks on the peft model.

The mode is `hooks` without wrapping (wrapping renames parameters and breaks what peft saves). Ghost
clipping and expanded weights are not offered: slower for LoRA, and silently wrong when a loss is
computed inside the model. The loss is a vector computed here, so no record's gradient depends on
another record.
"""

from __future__ import annotations

import warnings
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray
from opacus.grad_sample import GradSampleHooks
from torch import Tensor
from torch.nn.functional import cross_entropy

from fedethics.errors import TrainingError
from fedethics.training.activations import Batch
from fedethics.training.learner import Learner


class PerSampleGradients:
    """Hooks on a learner's model for as long as the `with` block lasts; hold the learner's lock."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._hooks = GradSampleHooks(learner.model, loss_reduction="sum")

    @property
    def size(self) -> int:
        """Number of trainable parameters, p."""
        return self._learner.size

    def __enter__(self) -> PerSampleGradients:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._hooks.cleanup()
        _clear_gradients(self._learner)

    def __call__(self, batch: Batch, labels: NDArray[np.int8]) -> tuple[Tensor, Tensor]:
        """Return gradients, float32, shape (b, p), and losses, shape (b,), of `batch`.

        Args:
            batch: at least one record.
            labels: labels of all records, of which `batch.rows` are used.

        Raises:
            TrainingError: a trainable parameter has no gradient for each record.
        """
        targets = torch.from_numpy(labels[batch.rows].astype(np.int64)).to(batch.hidden.device)
        losses = cross_entropy(self._learner.logits(batch), targets, reduction="none")
        with warnings.catch_warnings():
            # With A frozen, B's inputs need no gradient; its outputs' are all the hooks use.
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            torch.autograd.backward(losses.sum())
        samples = self._collect(len(batch.rows))
        _clear_gradients(self._learner)
        return samples, losses.detach()

    def _collect(self, count: int) -> Tensor:
        samples = []
        for name, parameter in self._learner.parameters.items():
            sample = getattr(parameter, "grad_sample", None)
            if not isinstance(sample, Tensor) or sample.shape != (count, *parameter.shape):
                # Danger: stepped on without clipping, it would release raw gradients.
                raise TrainingError(
                    f"trainable parameter {name} has no gradient for each record, so it could not "
                    "be clipped; nothing was released. This kind of layer is not supported"
                )
            samples.append(sample.reshape(count, -1))
        return torch.cat(samples, dim=1)


def _clear_gradients(learner: Learner) -> None:
    for parameter in learner.parameters.values():
        parameter.grad = None
        parameter.grad_sample = None  # type: ignore[attr-defined]
