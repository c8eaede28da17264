"""One gradient for each record: what both engines that compute them have in common.

Every trained parameter is a linear layer's (guards.py refuses others). "opacus" is Opacus's hooks
(below), the default; "autograd" is this package's own layer (engines.py), quicker on short
texts. They are independent of one another, and before a run the self-test holds them together. A
site's policy chooses; the numbers are the same. Ghost clipping is not offered: slower for LoRA
(measured 1.5 to 1.8 times), and silently unclipped when a loss is computed inside the model.

Each record's gradient from Opacus's hooks.

The mode is `hooks` without wrapping (wrapping renames parameters and breaks what peft saves). The
trained layers alone are in train mode, which Opacus asks for and which changes nothing in a linear
layer; the rest stays in eval mode, so no dropout draws from a generator that the noise source does
not own. Under bfloat16 autocast the layers' inputs and output gradients are bfloat16; through
Opacus's own table of samplers they are made float32 before they are multiplied, in this class
alone: the table that everybody else sees stays as it is.
Source: Opacus 1.6, arXiv 2109.12298.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from opacus.grad_sample import GradSampleHooks
from opacus.grad_sample.linear import compute_linear_grad_sample
from torch import Tensor, cat, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from fedethics.data.records import Targets
from fedethics.errors import TrainingError
from fedethics.training.activations import Activations, Batch, over

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
        return over((self,), batches, lambda engine, batch: engine(batch, labels))

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


# With A frozen, B's inputs need no gradient; its outputs' are all that the hooks use.
_HARMLESS = "Full backward hook is firing"


class OpacusGradients(PerSampleGradients):
    """Opacus's hooks on a learner's model; they listen during calls only."""

    def __init__(self, learner: Learner) -> None:
        super().__init__(learner)
        for layer in self._layers:
            layer.training = True
        # Not the whole model: looking through its frozen layers took 4 ms a round.
        self._hooks = _Hooks(nn.ModuleList(self._layers), loss_reduction="sum")

    def __enter__(self) -> OpacusGradients:
        # Not in each call: calls run in several threads, and filters belong to the process.
        self._filters = warnings.catch_warnings()
        self._filters.__enter__()
        warnings.filterwarnings("ignore", message=_HARMLESS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        self._filters.__exit__(kind, error, trace)

    def _begin(self, count: int) -> None:
        # Whatever an earlier pass left behind when it failed.
        for layer in self._layers:
            _forget(layer)
        for parameter in self._learner.parameters.values():
            parameter._forward_counter = 0  # type: ignore[attr-defined]
            parameter.grad_sample = None  # type: ignore[attr-defined]
        self._hooks.begin(count)

    def _ends(self) -> list[GradientEdge]:
        if not self._hooks.lowest:
            raise unheard()
        self._hooks.state = "backward"
        # Not the weights: their ordinary gradients would be computed too, for nobody.
        return self._hooks.lowest

    def _collect(self, count: int) -> Tensor:
        self._hooks.end()
        samples = []
        for name, parameter in self._learner.parameters.items():
            sample = getattr(parameter, "grad_sample", None)
            if not isinstance(sample, Tensor) or sample.shape != (count, *parameter.shape):
                raise uncovered(name)
            samples.append(sample.reshape(count, -1))
            parameter.grad_sample = None  # type: ignore[attr-defined]
        return cat(samples, dim=1)

    def _detach(self) -> None:
        self._hooks.end()
        self._hooks.cleanup()
        for layer in self._layers:
            layer.training = False
            _forget(layer)


class _Hooks(GradSampleHooks):  # type: ignore[misc]  # Opacus has no types
    """Opacus's hooks, which listen to one forward and one backward pass and to no stray one.

    Attributes:
        state: "forward" and "backward" during a call, else "".
        lowest: outputs of the trained layers below which nothing is trained. Every other trained
            layer lies on the way to one of these, since its inputs need a gradient.
    """

    GRAD_SAMPLERS = {**GradSampleHooks.GRAD_SAMPLERS}  # noqa: RUF012  filled below
    state = ""

    def begin(self, count: int) -> None:
        """Listen to a forward pass over `count` records."""
        self.lowest: list[GradientEdge] = []
        self._count, self.state = count, "forward"

    def end(self) -> None:
        """Listen no more."""
        self.lowest, self.state = [], ""

    def capture_activations_hook(
        self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor
    ) -> None:
        # A checkpointed layer runs once more in the backward pass: it was heard already.
        if self.state != "forward" or not output.requires_grad:
            return
        if len(inputs[0]) != self._count:
            # Danger: Opacus would add such a layer's gradients to the first records'.
            raise uncovered(f"of a {type(module).__name__} that does not read record by record")
        if not inputs[0].requires_grad:
            self.lowest.append(get_gradient_edge(output))
        super().capture_activations_hook(module, inputs, output)

    def capture_backprops_hook(self, *given: Any, **named: Any) -> None:  # noqa: ANN401
        if self.state != "backward":
            raise stray_backward()
        super().capture_backprops_hook(*given, **named)


def _in_float32(
    layer: nn.Linear, activations: list[Tensor], backprops: Tensor
) -> dict[nn.Parameter, Tensor]:
    inputs = [part.float() for part in activations]
    samples: dict[nn.Parameter, Tensor] = compute_linear_grad_sample(
        layer, inputs, backprops.float()
    )
    return samples


_Hooks.GRAD_SAMPLERS[nn.Linear] = _in_float32


def _forget(layer: nn.Module) -> None:
    """Drop what Opacus keeps of a layer's last inputs. Sensitive: they determine the text."""
    vars(layer).pop("activations", None)
    vars(layer).pop("max_batch_len", None)
