"""Which of the two engines computes gradients: as the site's policy says.

"autograd" writes each record's gradient where it arises, in the backward pass of linear layers: for
a layer y = x W^T + b, record i's gradient of W is the sum over its tokens of (gradient of y)
times x, transposed; it is computed in float32 from what backward has at hand anyway, so neither
hooks nor a second pass are needed.
Source: Goodfellow 2015 (arXiv 1510.01799), section 4; Lee and Kifer 2021 (arXiv 2009.03106).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import linear

from fedethics.data.records import Targets
from fedethics.training.activations import Activations, Batch
from fedethics.training.per_sample import (
    OpacusGradients,
    PerSampleGradients,
    Sampled,
    stray_backward,
    uncovered,
)

if TYPE_CHECKING:
    from fedethics.training.learner import Learner


Sink = Callable[[Tensor, Tensor], None]


class AutogradGradients(PerSampleGradients):
    """Taps on a learner's trained layers."""

    def __init__(self, learner: Learner) -> None:
        super().__init__(learner)
        self._places = _places(learner)
        self._samples = torch.empty(0)
        self._seen: set[int] = set()
        for layer in self._layers:
            self._collect_from(layer)

    def _begin(self, count: int) -> None:
        self._samples = torch.empty(count, self.size, device=self._learner.flat.device)
        self._seen.clear()

    def _ends(self) -> list[Tensor]:
        # Of these, no gradient is computed: `_PerRecordLinear` gives None.
        return [layer.weight for layer in self._layers]

    def _collect(self, _count: int) -> Tensor:
        samples, self._samples = self._samples, torch.empty(0)
        for name, parameter in self._learner.parameters.items():
            if id(parameter) not in self._seen:
                raise uncovered(name)
        return samples

    def _detach(self) -> None:
        for module in self._layers:
            vars(module).pop("forward", None)
        self._samples = torch.empty(0)

    def _collect_from(self, layer: nn.Linear) -> None:
        """Let `layer` give up its records' gradients; its output stays what it was."""

        def sink(inputs: Tensor, gradient: Tensor) -> None:
            inputs, gradient = inputs.float(), gradient.float()
            if inputs.dim() == 2:
                inputs, gradient = inputs[:, None], gradient[:, None]
            self._add(layer.weight, _outer(gradient, inputs))
            if layer.bias is not None:
                self._add(layer.bias, gradient.sum(dim=1))

        def forward(inputs: Tensor) -> Tensor:
            linear_of: Any = _PerRecordLinear.apply  # torch has no type for it
            output: Tensor = linear_of(inputs, layer.weight, layer.bias, sink)
            return output

        vars(layer)["forward"] = forward

    def _add(self, parameter: Tensor, gradients: Tensor) -> None:
        if self._samples.dim() != 2:
            raise stray_backward()
        own = self._samples[:, self._places[id(parameter)]]
        if len(gradients) != len(own):
            raise uncovered(_name(self._learner, parameter))
        place = own.view(len(own), *parameter.shape)
        if id(parameter) in self._seen:
            place += gradients  # a layer that is used twice
        else:
            place.copy_(gradients)
        self._seen.add(id(parameter))


def _outer(gradient: Tensor, inputs: Tensor) -> Tensor:
    """Return each record's sum over tokens of gradient times inputs, shape (b, outputs, inputs)."""
    if gradient.shape[2] <= inputs.shape[2]:
        return torch.bmm(gradient.transpose(1, 2), inputs)
    # Few rows of many columns are six times faster than many rows of few.
    return torch.bmm(inputs.transpose(1, 2), gradient).transpose(1, 2)


class _PerRecordLinear(torch.autograd.Function):
    """A linear layer whose backward hands each record's part to `sink`, and none to `.grad`."""

    @staticmethod
    def forward(
        context: Any,  # noqa: ANN401
        inputs: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        sink: Sink,
    ) -> Tensor:
        context.save_for_backward(inputs, weight)
        context.sink = sink
        return linear(inputs, weight, bias)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, None, None, None]:  # noqa: ANN401
        inputs, weight = context.saved_tensors
        context.sink(inputs, gradient)
        below = None
        if context.needs_input_grad[0]:
            below = (gradient @ weight.to(gradient.dtype)).to(inputs.dtype)
        return below, None, None, None


def _name(learner: Learner, parameter: Tensor) -> str:
    return next(name for name, one in learner.parameters.items() if one is parameter)


def _places(learner: Learner) -> dict[int, slice]:
    """Return where each trained parameter lies in the vector, by its identity."""
    places, start = {}, 0
    for parameter in learner.parameters.values():
        places[id(parameter)] = slice(start, start + parameter.numel())
        start += parameter.numel()
    return places


Engine = Literal["opacus", "autograd"]
ENGINES: Mapping[Engine, Callable[[Learner], PerSampleGradients]] = {
    "opacus": OpacusGradients,
    "autograd": AutogradGradients,
}
# Below this many tokens in a batch, hooks were measured to cost more than 1.05 plain steps.
_SHORT_TOKENS = 2048


def engine_for(learner: Learner) -> Engine:
    """Return the engine that the site chose; for "auto", the likely faster one.

    Guarantee: it follows from public numbers alone. Were it the lengths of the site's texts, one
    record could change the last bits of all others' gradients.
    """
    if learner.compute.gradients != "auto":
        return learner.compute.gradients
    return "autograd" if learner.max_tokens * learner.rows < _SHORT_TOKENS else "opacus"


class ChosenGradients:
    """The chosen engine on a learner, its copies and replicas, while the `with` block lasts.

    Attributes:
        engines: by the identity of the learner that each is on.
    """

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        engine = ENGINES[engine_for(learner)]
        self.engines = {id(one): engine(one) for one in (*learner.copies, *learner.replicas)}

    @property
    def size(self) -> int:
        """Number of trainable parameters, p."""
        return self._learner.size

    def __enter__(self) -> ChosenGradients:
        with ExitStack() as stack:
            for engine in self.engines.values():
                stack.enter_context(engine)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def each(
        self, activations: Activations, rows: NDArray[np.intp], labels: Targets
    ) -> Iterator[tuple[Batch, Sampled]]:
        """Yield `rows` in batches, each with what its records give, on all copies and devices."""
        batches, home = self._learner.batches(activations, rows), self._learner.flat.device

        def sampled(one: Learner, batch: Batch) -> Sampled:
            samples, losses = self.engines[id(one)](batch, labels)
            return samples.to(home), losses.to(home)

        return self._learner.over(batches, sampled)

    def __call__(self, batch: Batch, labels: Targets) -> Sampled:
        """Return gradients, float32, shape (m, p), and losses, shape (m,), of one batch."""
        return self.engines[id(self._learner)](batch, labels)


def gradients_of(learner: Learner) -> ChosenGradients:
    """Return the chosen engine on the learner and its copies, as a context; hold its lock."""
    return ChosenGradients(learner)
