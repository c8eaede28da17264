"""What cannot be trained with a true gradient for each record is refused by name, before training.

Gradients of records are exact here for plain float32 linear layers, each used where it stands. All
that peft and Hugging Face offer beyond that either has no gradient per record, couples records, or
was measured to give wrong ones without an error.

A step can also go to the wrong tensors, with a normal loss and a normal epsilon (opacus #820): the
optimiser moves numbers that the forward pass does not read. So what moves is held to what is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftType
from torch import Tensor, nn

from fedethics.errors import TrainingError

# Of a tensor whose gradient is this small beside the largest, rounding is most: bfloat16 carries
# 8 bits, float32 24.
SMALL = 1e-3
SMALL_IN_BFLOAT16 = 2e-2

_METHODS = {
    PeftType.IA3: "IA3 trains bare scaling vectors, which have no gradient for each record",
    PeftType.VERA: "VeRA trains bare vectors over shared matrices, which have no gradient for each "
    "record",
    PeftType.PROMPT_TUNING: "prompt tuning trains an embedding that is read without the records, "
    "so there is no gradient for each record",
    PeftType.P_TUNING: "p-tuning trains a prompt that is read without the records",
    PeftType.PREFIX_TUNING: "prefix tuning trains keys and values that no record made",
}


def refuse_unsupported(model: Any) -> None:  # noqa: ANN401  peft has no types
    """Check a peft model.

    Raises:
        TrainingError: it names everything that is refused and why.
    """
    found = [
        *_methods(model), *_checkpointing(model), *_quantised(model), *_coupling(model),
        *_trained(model),
    ]  # fmt: skip
    if found:
        raise TrainingError("this model is refused, and nothing was computed: " + "; ".join(found))


def _methods(model: Any) -> Iterator[str]:  # noqa: ANN401
    for config in model.peft_config.values():
        if config.peft_type != PeftType.LORA:
            name = getattr(config.peft_type, "value", config.peft_type)
            yield _METHODS.get(config.peft_type, f"{name} is not LoRA, the one adapter built here")
        if getattr(config, "use_dora", False):
            yield "DoRA rescales whole rows of the base weights; no gradient for each record exists"
        if getattr(config, "lora_dropout", 0.0):
            yield "adapter dropout draws from a generator that the noise source does not own"


def _checkpointing(model: nn.Module) -> Iterator[str]:
    for name, module in model.named_modules():
        if getattr(module, "gradient_checkpointing", False):
            function = getattr(module, "_gradient_checkpointing_func", None)
            settings = function.keywords if isinstance(function, partial) else {}
            kind = "reentrant" if settings.get("use_reentrant", True) else "non-reentrant"
            yield (
                f"{kind} gradient checkpointing ({name}): layers would run twice a step, and a "
                "gradient for each record must be taken once"
            )
            return


def _quantised(model: nn.Module) -> Iterator[str]:
    for name, parameter in model.named_parameters():
        if not parameter.is_floating_point():
            yield f"quantised weights ({name}, {parameter.dtype}); load the model in float32"
            return


def _coupling(model: nn.Module) -> Iterator[str]:
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            yield f"{type(module).__name__} ({name}) makes one record's gradient depend on others"
        if getattr(module, "rope_type", "default") in ("dynamic", "longrope"):
            yield (
                f"{module.rope_type} rotary positions ({name}) stretch with the longest text of a "
                "batch, so one record's gradient would depend on others"
            )


def _trained(model: nn.Module) -> Iterator[str]:
    """Name trained parameters that are no plain float32 linear layer's own."""
    owners: dict[int, str] = {}
    for place, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            full = f"{place}.{name}"
            if not parameter.requires_grad:
                continue
            if type(module) is not nn.Linear:
                yield f"{full} is trained, but by a {type(module).__name__}, not a Linear"
            elif parameter.dtype != torch.float32:
                yield f"{full} is trained in {parameter.dtype}; only float32 is"
            if id(parameter) in owners:
                yield f"{full} and {owners[id(parameter)]} are one trained parameter (tied weights)"
            owners[id(parameter)] = full


def require_read(model: nn.Module, parameters: Mapping[str, nn.Parameter], flat: Tensor) -> None:
    """Check that the trained tensors of `model` are the vector itself, each at its place.

    Args:
        model: whose forward pass is run.
        parameters: the trained parameters by name, in vector order.
        flat: the vector that a step moves, shape (p,).

    Raises:
        TrainingError: a trained tensor is another one than a step would move.
    """
    held = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if stray := sorted(held.keys() ^ parameters.keys()):
        raise TrainingError(f"trained and not in the vector, or the other way round: {stray[:4]}")
    start = 0
    for name, parameter in parameters.items():
        for one in (held[name], parameter):
            place = flat.data_ptr() + start * flat.element_size()
            same = one.data_ptr() == place and one.device == flat.device
            if not (same and one.dtype == flat.dtype and one.is_contiguous()):
                raise TrainingError(
                    f"the network reads {name} from other memory than a step moves; it would seem "
                    "to train and would not"
                )
        start += parameter.numel()
    if start != flat.numel():
        raise TrainingError(f"{start} trained numbers in a vector of {flat.numel()}")


def expected_step(
    gradients: Tensor, mask: NDArray[np.bool_], *, clipping_norm: float, expected_batch: float
) -> NDArray[np.float64]:
    """Return the step that a plain loop over records takes: -sum of clipped gradients / batch.

    For plain gradient descent with a learning rate of 1, without noise, every record sampled.

    Args:
        gradients: of each record, by autograd and one record at a time, shape (n, p).
        mask: the coordinates that this round trains, shape (p,).
        clipping_norm: of one record.
        expected_batch: what divides the sum.
    """
    kept: NDArray[np.float64] = gradients.detach().cpu().double().numpy() * mask
    norms = np.linalg.norm(kept, axis=1)
    factors = np.minimum(1.0, clipping_norm / np.maximum(norms, np.finfo(np.float64).tiny))
    step: NDArray[np.float64] = -(kept * factors[:, None]).sum(axis=0) / expected_batch
    return step


def require_expected_step(
    update: NDArray[np.float32],
    expected: NDArray[np.float64],
    parameters: Mapping[str, nn.Parameter],
    *,
    vector: NDArray[np.float32],
    tolerance: float,
    small: float = SMALL,
    grid: float = 0.0,
) -> float:
    """Check each trained tensor's step, and return the largest deviation found.

    Args:
        update: what a step did to the vector, shape (p,).
        expected: by `expected_step`.
        parameters: the trained parameters by name, in vector order.
        vector: where the step began; float32 rounds a step to its last place.
        tolerance: of a tensor's step, relative to its largest entry.
        small: share of the largest step of all tensors, below which a tensor is held to it instead.
        grid: what rounding gradients to integers may add to a coordinate.

    Raises:
        TrainingError: a tensor moved differently from what was expected, or not at all.
    """
    start, worst = 0, 0.0
    least = small * float(np.abs(expected).max(initial=0.0))
    for name, parameter in parameters.items():
        place = slice(start, start + parameter.numel())
        scale = float(np.abs(expected[place]).max())
        apart = float(np.abs(update[place] - expected[place]).max())
        rounding = float(np.finfo(np.float32).eps * np.abs(vector[place] + expected[place]).max())
        start = place.stop
        if scale > rounding + grid and not bool(update[place].any()):
            raise TrainingError(f"{name} did not move in a step; it is not trained")
        if not apart <= tolerance * max(scale, least) + rounding + grid:
            raise TrainingError(
                f"{name} moved differently from a loop over records: off by {apart:.1e}, its "
                f"largest step being {scale:.1e}. The loss would look normal, and the model wrong"
            )
        worst = max(worst, apart / scale if scale > 0.0 else 0.0)
    return worst
