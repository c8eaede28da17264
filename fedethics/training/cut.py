"""Split off the frozen lower layers of models whose shape is known, so that they run once a text.

The part below the first trained layer becomes a model of its own (`prefix`). In the part above,
embeddings and lower layers are replaced by pass-throughs, so parameter names stay those of peft and
what is saved loads anywhere. For other models there is no prefix and every step runs all layers:
slower by the share of frozen layers, and as correct.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

# Model types whose forward pass is "embed, layers, final norm" with rotary positions.
DECODERS = frozenset({"llama", "mistral", "qwen2", "qwen3"})
ENCODERS = frozenset({"bert"})


def cut_prefix(body: Any, first_layer: int) -> nn.Module | None:  # noqa: ANN401
    """Take embeddings and the layers below `first_layer` out of `body`, the model without heads.

    Returns:
        What was taken out, token ids in and hidden states out; None, and `body` as it was, where
        the shape is not known.
    """
    if body.config.model_type in ENCODERS:
        return _cut_bert(body, first_layer)
    if body.config.model_type in DECODERS:
        return _cut_decoder(body, first_layer)
    return None


def keep_first_token_only(body: Any) -> None:  # noqa: ANN401
    """Spare BERT's last layer what nobody reads: the pooler reads the first token's state only."""

    def first_token(_module: nn.Module, _inputs: object, output: tuple[Tensor, Any]) -> Any:  # noqa: ANN401
        return (output[0][:, :1], *output[1:])

    body.encoder.layer[-1].attention.register_forward_hook(first_token)


def _cut_bert(body: Any, first_layer: int) -> nn.Module:  # noqa: ANN401
    prefix = _empty(body, first_layer, add_pooling_layer=False)
    prefix.embeddings = body.embeddings
    prefix.encoder.layer = nn.ModuleList(list(body.encoder.layer[:first_layer]))
    body.embeddings = _PassEmbeddings()
    return _passing(prefix, body.encoder.layer, first_layer)


def _cut_decoder(body: Any, first_layer: int) -> nn.Module:  # noqa: ANN401
    prefix = _empty(body, first_layer)
    prefix.embed_tokens, prefix.rotary_emb = body.embed_tokens, body.rotary_emb
    prefix.layers = nn.ModuleList(list(body.layers[:first_layer]))
    prefix.norm = nn.Identity()  # the final norm comes after the upper layers
    return _passing(prefix, body.layers, first_layer)


def _empty(body: Any, layers: int, **kind: bool) -> Any:  # noqa: ANN401
    config = copy.deepcopy(body.config)
    config.num_hidden_layers = layers
    with torch.device("meta"):
        return type(body)(config, **kind)


def _passing(prefix: nn.Module, layers: nn.ModuleList, count: int) -> nn.Module:
    for index in range(count):
        layers[index] = _PassLayer()
    return prefix.requires_grad_(False).eval()


class _PassEmbeddings(nn.Module):
    """Stands where the embeddings were: the hidden states given are what they and below made."""

    def forward(self, inputs_embeds: Tensor, **_: object) -> Tensor:
        return inputs_embeds


class _PassLayer(nn.Module):
    """Stands where a frozen layer was."""

    def forward(self, hidden: Tensor, *_: object, **__: object) -> Tensor:
        return hidden
