"""The network: a BERT encoder with a two-way head, LoRA on its upper layers, cut at the first.

The part below the first trainable layer (`prefix`) is run once per text. In the part above it
(`model`), embeddings and lower layers are replaced by pass-throughs, so parameter names are those
of peft and what is saved loads anywhere.

Guarantee: all initial values follow from the charter's seed, on every machine, bit for bit; torch's
global generator is left as it was.
Source: LoRA, arXiv 2106.09685; freezing A under DP, arXiv 2403.12313 (FFA-LoRA).
"""

from __future__ import annotations

import copy
import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, TaskType, get_peft_model
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification
from transformers.utils import logging as transformers_logging

from fedethics.charter.training_terms import AdapterTerms
from fedethics.errors import ModelError

HEAD = "classifier"
_FROZEN_FACTOR = ".lora_A."
_HEAD_STD = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """The two parts of the network.

    Attributes:
        prefix: embeddings and frozen lower layers; token ids in, hidden states out.
        model: a peft model; hidden states in, logits out.
        first_layer: number of layers in the prefix.
    """

    prefix: nn.Module
    model: Any
    first_layer: int


def build_network(folder: Path, terms: AdapterTerms, *, device: str) -> Network:
    """Load the base model from `folder` and put the adapter on it.

    Raises:
        ModelError: not a BERT encoder, weights missing, or an adapter that does not fit it.
    """
    with torch.random.fork_rng(devices=[]), _Quiet():
        classifier = _load_base(folder)
        _check_layers(classifier.config, terms)
        model = _with_adapter(classifier, terms)
    first_layer = min(terms.layers)
    prefix = _cut(classifier.base_model, first_layer)
    _keep_first_token_only(classifier.base_model.encoder.layer[-1])
    _initialise(model, terms)
    # Opacus's hooks need train mode; without dropout it is the same function as eval mode.
    return Network(prefix.eval().to(device), model.train().to(device), first_layer)


def _load_base(folder: Path) -> Any:  # noqa: ANN401  transformers has no types
    config = AutoConfig.from_pretrained(folder, local_files_only=True, num_labels=2)
    if config.model_type != "bert":
        raise ModelError(
            f"{folder} holds a {config.model_type!r} model; this version trains BERT encoders only"
        )
    classifier, report = AutoModelForSequenceClassification.from_pretrained(
        folder,
        config=config,
        local_files_only=True,
        use_safetensors=True,
        dtype=torch.float32,
        output_loading_info=True,
    )
    missing = {name for name in report["missing_keys"] if not name.startswith(HEAD)}
    if missing:
        raise ModelError(
            f"{folder} lacks weights that the classifier needs ({', '.join(sorted(missing)[:4])}); "
            "they would be random, and different at each site"
        )
    for module in classifier.modules():
        if isinstance(module, nn.Dropout):
            # Its masks come from a generator that the noise source does not own.
            module.p = 0.0
    return classifier


def _check_layers(config: Any, terms: AdapterTerms) -> None:  # noqa: ANN401
    layers = config.num_hidden_layers
    if max(terms.layers) >= layers:
        raise ModelError(
            f"adapter.layers names layer {max(terms.layers)}, but the model has layers 0 to "
            f"{layers - 1}"
        )


def _with_adapter(classifier: Any, terms: AdapterTerms) -> Any:  # noqa: ANN401
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=terms.rank,
        lora_alpha=terms.alpha,  # type: ignore[arg-type]
        lora_dropout=0.0,
        bias="none",
        target_modules=list(terms.targets),
        layers_to_transform=list(terms.layers),
        layers_pattern="layer",
    )
    try:
        model = get_peft_model(classifier, config)
    except ValueError as error:
        raise ModelError(f"adapter.targets {list(terms.targets)} do not fit: {error}") from error
    if terms.freeze_a:
        for name, parameter in model.named_parameters():
            if _FROZEN_FACTOR in name:
                parameter.requires_grad_(False)
    return model


def _cut(bert: Any, first_layer: int) -> nn.Module:  # noqa: ANN401
    """Move embeddings and lower layers into an encoder of their own; leave pass-throughs."""
    config = copy.deepcopy(bert.config)
    config.num_hidden_layers = first_layer
    with torch.device("meta"):
        prefix: Any = type(bert)(config, add_pooling_layer=False)
    prefix.embeddings = bert.embeddings
    prefix.encoder.layer = nn.ModuleList(list(bert.encoder.layer[:first_layer]))
    bert.embeddings = _PassEmbeddings()
    for index in range(first_layer):
        bert.encoder.layer[index] = _PassLayer()
    module: nn.Module = prefix.requires_grad_(False)
    return module


class _PassEmbeddings(nn.Module):
    """Stands where the embeddings were: the hidden states given are what they and below made."""

    def forward(self, inputs_embeds: Tensor, **_: object) -> Tensor:
        return inputs_embeds


class _PassLayer(nn.Module):
    """Stands where a frozen layer was."""

    def forward(self, hidden: Tensor, *_: object, **__: object) -> Tensor:
        return hidden


def _keep_first_token_only(last_layer: Any) -> None:  # noqa: ANN401
    """Spare the last layer what nobody reads: the pooler reads the first token's state only."""

    def first_token(_module: nn.Module, _inputs: object, output: tuple[Tensor, Any]) -> Any:  # noqa: ANN401
        return (output[0][:, :1], *output[1:])

    last_layer.attention.register_forward_hook(first_token)


def _initialise(model: Any, terms: AdapterTerms) -> None:  # noqa: ANN401
    """Set A and head as peft and transformers would, but from the charter's seed by name."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B." in name or (f"{HEAD}.modules_to_save" in name and "bias" in name):
                parameter.zero_()
            elif _FROZEN_FACTOR in name:
                _fill_uniform(parameter, parameter.shape[1] ** -0.5, terms.seed, name)
            elif f"{HEAD}.modules_to_save" in name:
                _fill_uniform(parameter, _HEAD_STD * 3**0.5, terms.seed, name)


def _fill_uniform(parameter: Tensor, limit: float, seed: int, name: str) -> None:
    # Uniform and Philox: integers scaled by exact arithmetic, the same bits on every machine.
    key = hashlib.sha256(f"fedethics/adapter/1/{seed}/{name}".encode()).digest()[:16]
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))
    unit = generator.random(parameter.numel())
    values = ((2.0 * unit - 1.0) * limit).astype(np.float32).reshape(parameter.shape)
    parameter.copy_(torch.from_numpy(values))


class _Quiet:
    """Hold back loading chatter: progress, the head's missing weights (set here), old names."""

    def __enter__(self) -> None:
        self._verbosity = transformers_logging.get_verbosity()
        self._bars = transformers_logging.is_progress_bar_enabled()
        self._caught = warnings.catch_warnings()
        self._caught.__enter__()
        warnings.simplefilter("ignore", FutureWarning)
        transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]

    def __exit__(self, *_: object) -> None:
        self._caught.__exit__(None, None, None)
        transformers_logging.set_verbosity(self._verbosity)
        if self._bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
