"""What cannot be trained with a true gradient for each record is refused by name, before training.

Gradients of records are exact here for plain float32 linear layers, each used where it stands. All
that peft and Hugging Face offer beyond that either has no gradient per record, couples records, or
was measured to give wrong ones without an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from peft import PeftType
from torch import nn

from fedethics.errors import TrainingError

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
