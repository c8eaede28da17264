"""The frozen base in sixteen, eight or four bits: one object for each way to keep a weight.

Sixteen bits are kept where the model's file holds them (`keep_stored`): less memory, the same
model. Eight and four bits are another model, by the charter's choice.

Weights only: what flows through stays as it is, so a record's output depends on that record alone
and gradients are those of the quantised model, exactly. (Schemes that round what flows through have
no gradient of their own, and LLM.int8 treats columns apart by the largest entry in a whole batch.)
Embeddings, norms, output embeddings, heads and adapters keep their precision.

A layer's weight is computed again, in float32, wherever it is needed, and multiplied as any other.
The libraries' own products of four-bit weights are not used: they choose another kernel for a
single row, so a record's last bits would follow from its company.

Guarantee: codes and constants are the same bits on every machine: single operations on float32
numbers, on the CPU, and one sum that is rounded once; `digest` is part of the model's hash, so a
site that would get others is refused.
Source: absmax quantisation by rows, as in Dettmers et al. 2022 (arXiv 2208.07339), section 2; NF4
with double quantisation, Dettmers et al. 2023 (arXiv 2305.14314), section 3.
"""

from __future__ import annotations

import hashlib
import importlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from fedethics.errors import ModelError

_KEPT = (".lora_A.", ".lora_B.", ".modules_to_save.", ".original_module")


class FrozenLinear(nn.Module, ABC):
    """A frozen linear layer whose weight is kept in another form than float32."""

    bias: Tensor | None

    def forward(self, inputs: Tensor) -> Tensor:
        """Return inputs W^T + b."""
        apply: Any = _Remade.apply  # torch has no type for it
        output: Tensor = apply(inputs, self, self.bias)
        return output

    @abstractmethod
    def whole_weight(self) -> Tensor:
        """Return the weight, float32, shape (outputs, inputs)."""


class StoredLinear(FrozenLinear):
    """A weight in the 16 bits that the model's file holds; as float32 it is the same number.

    So what is computed is, bit for bit, what a copy of the file in float32 would give.
    """

    def __init__(self, plain: nn.Linear) -> None:
        """Take the weight of `plain`, which may be the embeddings' too, and its bias."""
        super().__init__()
        self.weight = plain.weight
        self.bias = plain.bias

    def whole_weight(self) -> Tensor:
        """Return the stored numbers."""
        return self.weight.detach().float()


class QuantisedLinear(FrozenLinear):
    """A weight that is kept in codes.

    Attributes:
        bits: of one weight, with its share of the constants.
    """

    bits: ClassVar[float]

    def __init__(self, plain: nn.Linear) -> None:
        """Quantise the weights of `plain`; its bias stays."""
        super().__init__()
        self._quantise(plain.weight.detach().float())
        self.bias = plain.bias

    @abstractmethod
    def constants(self) -> Iterator[Tensor]:
        """Yield all that the weight follows from, in an order that does not change."""

    @abstractmethod
    def _quantise(self, weight: Tensor) -> None:
        """Keep the codes of `weight`, float32, shape (outputs, inputs), as buffers."""

    @staticmethod
    def require(device: torch.device) -> None:
        """Raise ModelError where codes cannot be read on `device`."""


class Int8Linear(QuantisedLinear):
    """Eight bits, one scale a row; a row of zeros has scale 1."""

    bits = 8.0
    codes: Tensor
    scales: Tensor

    def whole_weight(self) -> Tensor:
        """Return codes * scales."""
        return self.codes * self.scales

    def constants(self) -> Iterator[Tensor]:
        """Yield codes and scales."""
        yield from (self.codes, self.scales)

    def _quantise(self, weight: Tensor) -> None:
        scales = weight.abs().amax(dim=1, keepdim=True) / _LARGEST
        scales[scales == 0] = 1.0
        self.register_buffer("codes", (weight / scales).round().to(torch.int8))
        self.register_buffer("scales", scales)


class Nf4Linear(QuantisedLinear):
    """Four bits of the NF4 table, a scale for 64 weights, the scales in eight bits themselves.

    bitsandbytes makes codes and weights. The mean of the scales is taken here, so that it does not
    follow from the number of threads; it differs from the library's own by its last bit at most.
    """

    bits = 4.0 + 8.0 / 64 + 32.0 / (64 * 256)
    codes: Tensor
    table: Tensor
    scale_codes: Tensor
    scale_table: Tensor
    scale_scales: Tensor
    offset: Tensor

    def whole_weight(self) -> Tensor:
        """Return the weight as bitsandbytes reads it."""
        library = _bitsandbytes()
        scales = library.QuantState(
            absmax=self.scale_scales, code=self.scale_table, blocksize=_SCALES, dtype=torch.float32
        )
        state = library.QuantState(
            absmax=self.scale_codes, shape=torch.Size([2 * self.codes.numel()]), code=self.table,
            blocksize=_BLOCK, quant_type="nf4", dtype=torch.float32, offset=self.offset,
            state2=scales,
        )  # fmt: skip
        weight: Tensor = library.dequantize_4bit(self.codes, state)
        return weight.reshape(-1)[: self._shape.numel()].view(self._shape)

    def constants(self) -> Iterator[Tensor]:
        """Yield codes, tables, scales and their mean."""
        yield from (self.codes, self.table, self.scale_codes, self.scale_table)
        yield from (self.scale_scales, self.offset)

    @staticmethod
    def require(device: torch.device) -> None:
        """Raise ModelError where bitsandbytes has no kernel for `device`."""
        # Not nn.Linear(...): its start draws from the global generator.
        plain = nn.Linear(64, 64, bias=False, device="meta")
        plain.weight = nn.Parameter(torch.linspace(-1.0, 1.0, 64 * 64).view(64, 64))
        try:
            there = Nf4Linear(plain).to(device).whole_weight().cpu()
        except ModelError:
            raise
        except Exception as error:
            # Whatever a library without a kernel raises.
            raise ModelError(
                f'model.quantisation "nf4": bitsandbytes cannot read four-bit weights on device '
                f"{device.type!r} here ({type(error).__name__}); nothing was trained. Install a "
                "build with a kernel for it, or set compute.device in policy.toml to another"
            ) from error
        if not bool(((there - plain.weight).abs() < _COARSE).all()):
            raise ModelError(
                f'model.quantisation "nf4": bitsandbytes reads wrong weights on device '
                f"{device.type!r} here; nothing was trained"
            )

    def _quantise(self, weight: Tensor) -> None:
        library = _bitsandbytes()
        self._shape = torch.Size(weight.shape)
        # One row of whole blocks: bitsandbytes 0.50.2 reads wrong scales on a CPU where a row is no
        # multiple of a block, and compiles code as it runs where it is of odd length.
        row = nn.functional.pad(weight.reshape(-1), (0, -weight.numel() % _BLOCK))
        codes, state = library.quantize_4bit(
            row, blocksize=_BLOCK, quant_type="nf4", compress_statistics=False
        )
        mean = math.fsum(state.absmax.tolist()) / state.absmax.numel()
        offset = torch.tensor(mean, dtype=torch.float32)
        scale_codes, scales = library.quantize_blockwise(state.absmax - offset, blocksize=_SCALES)
        for name, value in (
            ("codes", codes), ("table", state.code), ("scale_codes", scale_codes),
            ("scale_table", scales.code), ("scale_scales", scales.absmax), ("offset", offset),
        ):  # fmt: skip
            # Copies: the library hands the same tables to all layers.
            self.register_buffer(name, value.detach().clone())


SCHEMES: Mapping[str, type[QuantisedLinear]] = {"int8": Int8Linear, "nf4": Nf4Linear}
_LARGEST = 127
_BLOCK = 64
_SCALES = 256
# Steps of the NF4 table are at most 0.31 wide.
_COARSE = 0.2


class _Remade(torch.autograd.Function):
    """Keeps the layer for the backward pass, where autograd would keep the weight made for it."""

    @staticmethod
    def forward(
        context: Any,  # noqa: ANN401
        inputs: Tensor,
        layer: FrozenLinear,
        bias: Tensor | None,
    ) -> Tensor:
        context.layer = layer
        context.kind = inputs.dtype
        return linear(inputs, layer.whole_weight(), bias)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        below = gradient @ context.layer.whole_weight().to(gradient.dtype)
        return below.to(context.kind), None, None


def quantise_base(model: Any, scheme: str) -> str:  # noqa: ANN401  peft has no types
    """Put the scheme's layer in the place of the base's frozen linear ones; return `digest(model)`.

    Raises:
        ModelError: the base has no linear layers (GPT-2's are of another kind), or the scheme's
            library is not installed.
    """
    kind = SCHEMES[scheme]
    output = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    for name, module in list(model.named_modules()):
        if type(module) is nn.Linear and module is not output and not is_kept(name):
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, kind(module))
    if not any(isinstance(module, kind) for module in model.modules()):
        raise ModelError(
            f'model.quantisation "{scheme}": a {model.config.model_type!r} model has no linear '
            "layers that could be quantised; nothing was loaded"
        )
    return digest(model)


_STORED = (torch.bfloat16, torch.float16)


def may_stay_stored(model: Any) -> set[int]:  # noqa: ANN401  transformers has no types
    """Return the identities of the parameters that can be read as stored, in 16 bits.

    They are the weights of plain linear layers and of the words' embeddings, and of nothing else:
    other layers compute in their parameters' precision, and other tables are read past their layer.
    """
    words = model.get_input_embeddings()
    plain, others = set[int](), set[int]()
    for module in model.modules():
        table = module is words and type(module) is nn.Embedding
        own = plain if table or type(module) is nn.Linear else others
        for name, parameter in module.named_parameters(recurse=False):
            (own if name == "weight" else others).add(id(parameter))
    return plain - others


def keep_stored(model: nn.Module) -> None:
    """Let frozen linear layers and embeddings with weights in 16 bits compute in float32.

    Guarantee: outputs and gradients are those of the same weights in float32, bit for bit.
    """
    for name, module in list(model.named_modules()):
        weight = getattr(module, "weight", None)
        if not isinstance(weight, Tensor) or weight.dtype not in _STORED:
            continue
        if type(module) is nn.Linear:
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, StoredLinear(module))
        elif type(module) is nn.Embedding:
            module.register_forward_hook(_in_float32)


def _in_float32(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
    return output.float()


def digest(model: nn.Module) -> str:
    """Return the SHA-256 over every quantised layer's name, codes and constants."""
    found = hashlib.sha256()
    for name, module in model.named_modules():
        if isinstance(module, QuantisedLinear):
            found.update(name.encode() + b"\0")
            for part in module.constants():
                array = part.cpu().numpy()
                found.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return found.hexdigest()


def is_kept(name: str) -> bool:
    """Say whether a module of this name is an adapter's or a head's, which no scheme touches."""
    return any(mark in f".{name}." for mark in _KEPT)


@lru_cache(maxsize=1)
def _bitsandbytes() -> Any:  # noqa: ANN401  no types
    """Return bitsandbytes' functions, loaded when a charter asks for them.

    Raises:
        ModelError: it is not installed, or does not load here.
    """
    try:
        return importlib.import_module("bitsandbytes.functional")
    except ImportError as error:
        raise ModelError(
            'model.quantisation "nf4" needs the package bitsandbytes, which is not installed or '
            'does not load here; nothing was loaded. Install it with: pip install "fedethics[nf4]"'
        ) from error
