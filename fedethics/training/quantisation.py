"""The frozen base in eight bits: each linear layer's weights as int8 with one scale a row.

Weights only: what flows through stays as it is, so a record's output depends on that record alone
and gradients are those of the quantised model, exactly. (Schemes that round what flows through have
no gradient of their own, and LLM.int8 treats columns apart by the largest entry in a whole batch.)
Embeddings, norms, output embeddings, heads and adapters keep float32.

Guarantee: codes and scales are the same bits on every machine: a division and a rounding of float32
numbers each, on the CPU; `digest` is part of the model's hash.
Source: absmax quantisation by rows, as in Dettmers et al. 2022 (arXiv 2208.07339), section 2.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from fedethics.errors import ModelError

_LARGEST = 127
_KEPT = (".lora_A.", ".lora_B.", ".modules_to_save.", ".original_module")


class Int8Linear(nn.Module):
    """A frozen linear layer; its weight is `codes * scales`, made anew wherever it is needed."""

    codes: Tensor
    scales: Tensor

    def __init__(self, plain: nn.Linear) -> None:
        """Quantise the weights of `plain`; a row of zeros has scale 1."""
        super().__init__()
        weight = plain.weight.detach().float()
        scales = weight.abs().amax(dim=1, keepdim=True) / _LARGEST
        scales[scales == 0] = 1.0
        self.register_buffer("codes", (weight / scales).round().to(torch.int8))
        self.register_buffer("scales", scales)
        self.bias = plain.bias

    def forward(self, inputs: Tensor) -> Tensor:
        """Return inputs W^T + b."""
        apply: Any = _Linear8.apply  # torch has no type for it
        output: Tensor = apply(inputs, self.codes, self.scales, self.bias)
        return output


class _Linear8(torch.autograd.Function):
    """Keeps codes for the backward pass, where autograd would keep the weights made from them."""

    @staticmethod
    def forward(
        context: Any,  # noqa: ANN401
        inputs: Tensor,
        codes: Tensor,
        scales: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        context.save_for_backward(codes, scales)
        context.kind = inputs.dtype
        return linear(inputs, codes * scales, bias)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:  # noqa: ANN401
        codes, scales = context.saved_tensors
        below = gradient @ (codes * scales).to(gradient.dtype)
        return below.to(context.kind), None, None, None


def quantise_base(model: Any) -> str:  # noqa: ANN401  peft has no types
    """Put `Int8Linear` in the place of the base's frozen linear layers; return `digest(model)`.

    Raises:
        ModelError: the base has no linear layers (GPT-2's are of another kind).
    """
    output = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    for name, module in list(model.named_modules()):
        if type(module) is nn.Linear and module is not output and not _kept(name):
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, Int8Linear(module))
    if not any(isinstance(module, Int8Linear) for module in model.modules()):
        raise ModelError(
            f'model.quantisation "int8": a {model.config.model_type!r} model has no linear layers '
            "that could be quantised; nothing was loaded"
        )
    return digest(model)


def digest(model: nn.Module) -> str:
    """Return the SHA-256 over every quantised layer's name, codes and scales."""
    found = hashlib.sha256()
    for name, module in model.named_modules():
        if isinstance(module, Int8Linear):
            found.update(name.encode() + b"\0")
            found.update(module.codes.cpu().numpy().tobytes())
            found.update(module.scales.cpu().numpy().astype("<f4").tobytes())
    return found.hexdigest()


def _kept(name: str) -> bool:
    return any(mark in f".{name}." for mark in _KEPT)
