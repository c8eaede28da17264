"""Whether a step fits a device's memory, reckoned before a run from shapes alone.

A step is run on tensors without numbers (PyTorch's fake tensors), forward and backward, in the
order in which the real one runs; what is alive at once is added up. So it follows the model's own
code, whatever its family. Added by arithmetic: weights in the form in which they are kept, each
record's gradient, the vector and its sums, the states of frozen layers.

Not in it: what kernels take inside themselves, the allocator's gaps, and the device's own share
(`RESERVE`). Precision is float32; bfloat16 takes less. Measured against the peak of a process on a
CPU (tests/training/test_fit.py); on a GPU by `make gpu-check`.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fedethics.charter.training_terms import AdapterTerms
from fedethics.errors import ModelError
from fedethics.learning_tasks import find_task
from fedethics.training.loading import Quiet, stored_dtype
from fedethics.training.locate import BaseModel, own_model
from fedethics.training.network import DECODERS, checkpoint_layers, layer_list
from fedethics.training.quantised import SCHEMES, is_kept, may_stay_stored
from fedethics.training.shapes import Shapes, shapes_in

GIB = 2**30
# Rows of a batch that the engines use: multiples of 8, or each record alone.
ROWS = (32, 16, 8, 1)
# What a CUDA context and the allocator take, before anything of ours. Not measured here.
RESERVE = 1.0 * GIB
_FLOAT = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What is to be trained.

    Attributes:
        max_tokens: tokens of the longest record.
        answer_tokens: of them, those whose logits are computed.
        rank: of the adapter.
        top_layers: how many of the last layers have adapters; 0 for all.
        targets: names of the linear layers with adapters.
        form: the adapter's, as in the charter.
        quantisation: of the frozen base, as in the charter.
        checkpointing: as in a site's policy.
        records: whose states of the frozen layers are kept; 0 for none.
        devices: that a site divides a step's batches among, each with the whole model.
    """

    max_tokens: int
    answer_tokens: int
    rank: int = 8
    top_layers: int = 0
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    form: Literal["ffa", "fedsvd", "both", "alternating"] = "ffa"
    quantisation: Literal["none", "int8", "nf4"] = "none"
    checkpointing: bool = False
    records: int = 0
    devices: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """Bytes that a step of so many rows needs.

    Attributes:
        rows: records that are computed at once.
        weights: of the frozen base, and of one layer in float32 where it is kept otherwise.
        vector: the trained parameters, their copies and sums.
        gradients: one for each record; on the first of several devices, those that others sent too.
        activations: the most that forward and backward pass hold at once.
        states: of the frozen layers, of all records at their greatest length.
    """

    rows: int
    weights: int
    vector: int
    gradients: int
    activations: int
    states: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.vector + self.gradients + self.activations + self.states


def needs(folder: Path, question: Question) -> tuple[int, tuple[Need, ...]]:
    """Return the number of trained parameters, and what each number of rows needs, most first.

    Args:
        folder: of the model, or its .gguf file; no weights are read.
        question: what is to be trained.

    Raises:
        ModelError: no model, not a decoder, or the adapter does not fit it.
    """
    if not 1 <= question.answer_tokens <= question.max_tokens:
        raise ModelError(
            f"{question.answer_tokens} answer tokens are not from 1 to the {question.max_tokens} "
            "of a record; nothing was computed"
        )
    base = own_model(folder)
    with torch.random.fork_rng(devices=[]), Quiet():
        shapes = shapes_in(base, find_task("causal-lm"), lambda config: _adapter(config, question))
        weights = _weights(shapes.model, base, question)
        states = _states(shapes.model, question)
        trained = shapes.trained
        _without_numbers(shapes.model.eval())
        if question.checkpointing:
            layers = list(layer_list(shapes.model))
            checkpoint_layers(layers[-question.top_layers or 0 :], active=lambda: True)
        one, two = (_peak(shapes, question, rows) for rows in (1, 2))
    found = tuple(
        Need(
            rows=rows,
            weights=weights,
            # The vector, the copy that proofs run on, and two sums in 64 bits.
            vector=trained * (2 * _FLOAT + 16),
            # As the engine leaves them, and joined; then what waits to be added.
            gradients=(2 + _waiting(question)) * rows * trained * _FLOAT,
            # Each tensor has as many rows as the batch, or none.
            activations=one + (rows - 1) * (two - one),
            states=states,
        )
        for rows in ROWS
    )
    return trained, found


def _adapter(config: Any, question: Question) -> AdapterTerms:  # noqa: ANN401
    count = int(config.num_hidden_layers)
    first = max(0, count - question.top_layers) if question.top_layers else 0
    return AdapterTerms(
        rank=question.rank, alpha=1.0, targets=question.targets, layers=tuple(range(first, count)),
        form=question.form, seed=0,
    )  # fmt: skip


def _weights(model: Any, base: BaseModel, question: Question) -> int:  # noqa: ANN401
    output, staying = model.get_output_embeddings(), may_stay_stored(model)
    stored = stored_dtype(base).itemsize
    counted: dict[int, float] = {}
    largest = 0
    for name, module in model.named_modules():
        frozen = type(module) is nn.Linear and not is_kept(name)
        for own, parameter in module.named_parameters(recurse=False):
            stays = id(parameter) in staying and not is_kept(name)
            size = float(stored if stays else _FLOAT)
            if frozen and own == "weight" and module is not output:
                scheme = SCHEMES.get(question.quantisation)
                size = scheme.bits / 8 if scheme else size
            if size != _FLOAT and type(module) is nn.Linear:
                largest = max(largest, parameter.numel())
            if not parameter.requires_grad:
                counted[id(parameter)] = parameter.numel() * size
    return int(sum(counted.values())) + largest * _FLOAT


def _states(model: Any, question: Question) -> int:  # noqa: ANN401
    kept = question.top_layers and model.config.model_type in DECODERS
    width = int(model.config.hidden_size)
    return question.records * question.max_tokens * width * _FLOAT if kept else 0


def _without_numbers(model: nn.Module) -> None:
    """Put fake tensors on a CPU in the place of those on the meta device."""
    made: dict[int, nn.Parameter] = {}
    with FakeTensorMode(allow_non_fake_inputs=True):
        for module in model.modules():
            for name, own in list(module.named_parameters(recurse=False)):
                fresh = nn.Parameter(torch.empty(own.shape), requires_grad=own.requires_grad)
                module._parameters[name] = made.setdefault(id(own), fresh)
            for name, buffer in list(module.named_buffers(recurse=False)):
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)


def _peak(shapes: Shapes, question: Question, rows: int) -> int:
    model, inner = shapes.model, shapes.plain
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    tracker = _Alive([*model.parameters(), *model.buffers()])
    mode: Any = cast(Any, trained[0]).fake_mode
    with mode, tracker:
        ids = torch.zeros(rows, question.max_tokens, dtype=torch.long)
        places = torch.arange(-question.answer_tokens, 0)
        if inner.config.model_type in DECODERS:
            states = inner.base_model(input_ids=ids, use_cache=False).last_hidden_state
            logits = inner.get_output_embeddings()(states[:, places])
        else:
            logits = inner(input_ids=ids, use_cache=False).logits[:, places]
        flat = logits.float().flatten(0, 1)
        losses = nn.functional.cross_entropy(
            flat, torch.zeros(len(flat), dtype=torch.long), reduction="none"
        )
        torch.autograd.grad(losses.sum(), trained)
    return tracker.peak


class _Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no type for it
    """Adds up the bytes of all tensors that are alive, beside those that were before.

    Attributes:
        peak: the most at once.
    """

    def __init__(self, before: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._seen: weakref.WeakSet[Any] = weakref.WeakSet(one.untyped_storage() for one in before)
        self._now = self.peak = 0

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401  as torch calls it
        _types: Any,  # noqa: ANN401
        args: Any = (),  # noqa: ANN401
        kwargs: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        output = func(*args, **(kwargs or {}))
        for storage in _storages(output):
            if storage not in self._seen:
                size = storage.nbytes()
                self._seen.add(storage)
                self._now += size
                self.peak = max(self.peak, self._now)
                weakref.finalize(storage, self._free, size)
        return output

    def _free(self, size: int) -> None:
        self._now -= size


def _storages(output: Any) -> Iterator[Any]:  # noqa: ANN401
    for one in tree_leaves(output):
        if isinstance(one, Tensor):
            yield one.untyped_storage()


def _waiting(question: Question) -> int:
    """Return how many batches' gradients the first of several devices may hold besides its own."""
    return question.devices + 1 if question.devices > 1 else 0


def advice(question: Question, least: Need, memory: float) -> list[str]:
    """Return what to change where a step of one row does not fit into `memory` bytes.

    Args:
        question: what was asked.
        least: what one row needs.
        memory: of the device, in bytes.
    """
    if least.total + RESERVE <= memory:
        return []
    said = []
    if least.activations > least.weights and not question.checkpointing:
        said.append("compute.checkpointing = true in the policy (--checkpointing)")
    if question.quantisation == "none":
        said.append('model.quantisation = "nf4" in the charter (--quantisation nf4)')
    if least.states:
        said.append('compute.cache = "disk" in the policy (leave --records out)')
    return [*said, "fewer tokens, fewer trained layers, or a smaller model"]
