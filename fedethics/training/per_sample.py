"""One gradient for each record: what both engines that compute them have in common.

Every trained parameter is a linear layer's (guards.py refuses others). "opacus" is Opacus's hooks
(opacus_hooks.py), the default; "tapped" is this package's own layer (tapped.py), quicker on short
texts. They are independent of one another, and before a run the self-test holds them together. A
site's policy chooses; the numbers are the same. Ghost clipping is not offered: slower for LoRA
(measured 1.5 to 1.8 times), and silently unclipped when a loss is computed inside the model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

from fedethics.data.records import Targets
from fedethics.errors import TrainingError
from fedethics.training import workers
from fedethics.training.activations import Activations, Batch

if TYPE_CHECKING:
    from fedethics.training.learner import Learner


# Gradients, float32, shape (m, p), and losses, shape (m,), of a batch's m records.
Sampled = tuple[Tensor, Tensor]


class Gradients(Protocol):
    """What clipping asks of an engine."""

    @property
    def size(self) -> int:
        """Number of trainable parameters, p."""

    def each(
        self, activations: Activations, rows: NDArray[np.intp], labels: Targets
    ) -> Iterator[tuple[Batch, Sampled]]:
        """Yield `rows` of `activations` in batches, each with what its records give.

        Guarantee: what a record gives is the same bits whichever other rows there are.
        """


class PerSampleGradients(ABC):
    """Taken from a learner's trained layers while the `with` block lasts; hold its lock.

    Guarantee: nothing is added to any parameter's own gradient, and a trainable parameter without
    a gradient for each record is an error. Outside of calls nothing is recorded, and a backward
    pass that is not a call's own is an error as soon as it reaches a trained layer.
    """

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._layers = [
            module
            for module in learner.model.modules()
            if isinstance(module, nn.Linear) and module.weight.requires_grad
        ]

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
        self._detach()

    def each(
        self, activations: Activations, rows: NDArray[np.intp], labels: Targets
    ) -> Iterator[tuple[Batch, Sampled]]:
        """Yield `rows` in batches, each with what its records give; on this learner alone."""
        batches = self._learner.batches(activations, rows)
        return workers.over((self,), batches, lambda engine, batch: engine(batch, labels))

    def __call__(self, batch: Batch, labels: Targets) -> Sampled:
        """Return gradients, float32, shape (m, p), and losses, shape (m,), of `batch`.

        Args:
            batch: at least one record.
            labels: labels of all records, of which `batch.rows` are used.

        Raises:
            TrainingError: the loss is not one number a record, or a trainable parameter has no
                gradient for each record.
        """
        # What fills a batch up is computed like the records, and dropped.
        count, own = len(batch.hidden), len(batch.rows)
        self._begin(count)
        losses = self._learner.losses(batch, labels)
        if losses.shape != (count,):
            raise TrainingError(
                f"a loss of shape {tuple(losses.shape)} for {count} records was refused: a loss is "
                "one number for each record, or one record's gradient depends on the others"
            )
        if not losses.requires_grad:
            raise unheard()
        # Not backward(): nothing is added to any parameter's own gradient.
        torch.autograd.grad(losses.sum(), self._ends(), allow_unused=True)
        return self._collect(count)[:own], losses.detach()[:own]

    @abstractmethod
    def _begin(self, count: int) -> None:
        """Be ready for a pass over `count` records."""

    @abstractmethod
    def _ends(self) -> list[Tensor] | list[GradientEdge]:
        """Return where the backward pass may end: it must come through every trained layer."""

    @abstractmethod
    def _collect(self, count: int) -> Tensor:
        """Return the gradients of the pass, shape (count, p), and keep none of them."""

    @abstractmethod
    def _detach(self) -> None:
        """Leave the model as it was."""


def uncovered(name: str) -> TrainingError:
    """Return what is raised for a parameter that could not be clipped."""
    # Danger: stepped on without clipping, it would release raw gradients.
    return TrainingError(
        f"trainable parameter {name} has no gradient for each record, so it could not be clipped; "
        "nothing was released. This kind of layer is not supported"
    )


def unheard() -> TrainingError:
    """Return what is raised for a forward pass in which no trained layer took part."""
    return TrainingError("no trained layer was used by the loss; nothing was released")


def stray_backward() -> TrainingError:
    """Return what is raised for a backward pass that is not clipped."""
    # Danger: what such a pass leaves in parameters is not clipped.
    return TrainingError("a backward pass besides the clipped one; nothing was released")
