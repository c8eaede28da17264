"""What a charter says of a base model, read from the model's folder: its hash, layers and targets.

Only the hash reads the weights; the rest follows from the configuration, built without numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import AutoConfig, AutoModel
from transformers.pytorch_utils import Conv1D

from fedethics.errors import ModelError
from fedethics.ownership import cannot_read
from fedethics.training.loading import Quiet, one_line, positions, source
from fedethics.training.locate import BaseModel, own_model, weights_digest
from fedethics.training.network import layer_list
from fedethics.training.tokenizer import load_tokenizer

# Where LoRA usually goes, by the names that families give their attention's layers.
_USUAL_TARGETS = (
    ("query", "value"), ("q_proj", "v_proj"), ("q_lin", "v_lin"), ("value_proj",), ("c_attn",),
    ("qkv_proj",),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """A base model, as a charter names it.

    Attributes:
        folder: where it lies.
        kind: its type, such as "bert", by its configuration.
        sha256: of its weights, as `model.sha256` of a charter.
        layers: how many it has; they count from 0.
        linear: names of the linear layers in one of them, sorted: what `adapter.targets` may name.
        targets: of these, where an adapter usually goes; all of them where none has a usual name.
        positions: most tokens that it has a table of positions for; None where it has no table.
    """

    folder: Path
    kind: str
    sha256: str
    layers: int
    linear: tuple[str, ...]
    targets: tuple[str, ...]
    positions: int | None


def describe(model_dir: Path) -> Description:
    """Describe the model in a folder, a .gguf file or this machine's Hugging Face cache.

    Raises:
        ModelError: there is none, its weights are in a form that is not read, it is no encoder or
            decoder with a list of layers, or it has no tokenizer of its own.
    """
    base = own_model(model_dir)
    try:
        sha256 = weights_digest(base)
    except OSError as error:
        raise ModelError(f"{cannot_read(Path(error.filename or base.folder), error)}") from error
    model = _without_numbers(base)
    layer = layer_list(model)[-1]
    linear = sorted(
        {
            name.rpartition(".")[2]
            for name, module in layer.named_modules()
            if isinstance(module, nn.Linear | Conv1D)
        }
    )
    load_tokenizer(base, model)
    usual = next((names for names in _USUAL_TARGETS if set(names) <= set(linear)), tuple(linear))
    return Description(
        folder=base.folder / base.gguf_file,
        kind=str(model.config.model_type),
        sha256=sha256,
        layers=int(model.config.num_hidden_layers),
        linear=tuple(linear),
        targets=usual,
        positions=positions(model),
    )


def _without_numbers(base: BaseModel) -> Any:  # noqa: ANN401  transformers has no types
    with torch.random.fork_rng(devices=[]), Quiet():
        try:
            config = AutoConfig.from_pretrained(base.folder, **source(base))
            with torch.device("meta"):
                model = cast(Any, AutoModel).from_config(config, trust_remote_code=False)
        except Exception as error:
            # Whatever a library makes of a folder that anybody may have written.
            raise ModelError(f"{base.folder}: no base model: {one_line(error)}") from error
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(
            f"{base.folder} holds a {config.model_type!r} model, an encoder with a decoder; only "
            "encoders and only decoders are trained here"
        )
    return model
