"""The network: an encoder or decoder with LoRA on some layers, run on padded batches.

The frozen layers below the first trained one can be split off (`cut_prefix`); the trained ones can
be computed again in the backward pass (`checkpoint_layers`).

Guarantee: all initial values follow from the charter's seed, on every machine, bit for bit; torch's
global generator is left as it was. In a batch of a proven shape (activations.py) a record's output
depends on that record alone, bit for bit; in any other batch it does so except for the last bits.
Source: LoRA, arXiv 2106.09685; freezing A under DP, arXiv 2403.12313 (FFA-LoRA).
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

import numpy as np
import torch
from peft import LoraConfig, TaskType, get_peft_model
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import DynamicCache

from fedethics.charter.training_terms import AdapterTerms
from fedethics.errors import ModelError, TrainingError
from fedethics.training.activations import Padded
from fedethics.training.guards import refuse_unsupported
from fedethics.training.loading import Loaded, Quiet, positions
from fedethics.training.quantised import SCHEMES, keep_stored, quantise_base

# Model types whose forward pass is "embed, layers, final norm" with rotary positions.
DECODERS = frozenset({"llama", "mistral", "qwen2", "qwen3", "phi3", "smollm3", "olmo2"})
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


def checkpoint_layers(layers: Iterable[nn.Module], *, active: Callable[[], bool]) -> None:
    """Let each layer keep its input alone while `active()`; output and gradients stay the same."""
    for layer in layers:
        _wrap(layer, active)


def _wrap(layer: nn.Module, active: Callable[[], bool]) -> None:
    vars(layer)["forward"] = _Checkpointed(layer.forward, active)


class _Checkpointed:
    """A layer's forward pass; an object and no closure, so that a copied model calls its own."""

    def __init__(self, plain: Callable[..., Any], active: Callable[[], bool]) -> None:
        self._plain, self._active = plain, active

    def __call__(self, *given: Any, **named: Any) -> Any:  # noqa: ANN401  a layer's own
        if not (self._active() and torch.is_grad_enabled()):
            return self._plain(*given, **named)
        # No layer draws random numbers here (eval mode), so there is no generator to restore.
        return checkpoint(
            self._plain, *given, use_reentrant=False, preserve_rng_state=False, **named
        )


# How configurations of mixtures of experts name their number.
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_FROZEN_FACTOR = ".lora_A."
_HEAD = ".modules_to_save."
_HEAD_STD = 0.02


class Network:
    """The base model with its adapter, cut where its frozen lower layers can be split off.

    Attributes:
        model: the peft model; its parameters with `requires_grad` are what is trained.
        prefix: embeddings and frozen lower layers, or None where the model is not cut.
        first_layer: number of layers in the prefix.
        quantised: digest of the base's weights in eight or four bits; empty where they are not.
        positions: most tokens that the model has positions for; 2^30 where it has no table.
        device: where it runs.
        bfloat16: whether matrix products of the trained part are computed in bfloat16.
        checkpointing: whether the trained layers are computed again in the backward pass.
    """

    def __init__(
        self,
        base: Loaded,
        terms: AdapterTerms,
        *,
        pad_id: int,
        device: str,
        quantisation: Literal["none", "int8", "nf4"] = "none",
    ) -> None:
        """Put the adapter on the base model.

        Raises:
            ModelError: the adapter does not fit the model.
            TrainingError: the model cannot be trained record by record.
        """
        with torch.random.fork_rng(devices=[]), Quiet():
            self.model = with_adapter(base, terms)
        _initialise(self.model, base, terms)
        self.quantised = ""
        if quantisation != "none":
            SCHEMES[quantisation].require(torch.device(device))
            self.quantised = quantise_base(self.model, quantisation)
        keep_stored(self.model)
        refuse_unsupported(self.model)
        self._inner = base.model
        self._inner.register_forward_pre_hook(_refuse_inner_loss, with_kwargs=True)
        # Before the embeddings are cut off; without a table of positions there is no bound.
        self.positions = positions(base.model) or 1 << 30
        self._body = base.model.base_model
        self._type = base.model.config.model_type
        self._pad_id = pad_id
        self.device = torch.device(device)
        self.bfloat16 = False
        self.checkpointing = False
        self.prefix = cut_prefix(self._body, min(terms.layers))
        self.first_layer = min(terms.layers) if self.prefix is not None else 0
        if self._type in ENCODERS:
            keep_first_token_only(self._body)
        trained = layer_list(self.model)[min(terms.layers) :]
        checkpoint_layers(trained, active=self._checkpoints)
        self.model.eval().to(device)
        if self.prefix is not None:
            self.prefix.to(device)

    @property
    def mixes_experts(self) -> bool:
        """Whether a layer sends tokens to experts: then products have as many rows as chose one."""
        return any(getattr(self.model.config, name, 0) for name in _EXPERTS)

    def pad(self, sequences: list[Tensor], *, length: int = 0) -> Padded:
        """Pad sequences of ids or of hidden states to one batch, where the model is.

        Args:
            sequences: at least one.
            length: tokens of the batch; 0 for the longest.
        """
        return Padded.of(sequences, pad_id=self._pad_id, length=length).to(self.device)

    def below(self, ids: Padded) -> Tensor:
        """Return what the frozen prefix makes of token ids, float32, shape (b, tokens, width)."""
        if self.prefix is None:
            raise ModelError("this model is not cut; it has no frozen prefix")
        with torch.no_grad(), torch.autocast(ids.inputs.device.type, enabled=False):
            states: Tensor = self.prefix(input_ids=ids.inputs, **self._mask(ids)).last_hidden_state
        return states

    def class_logits(self, batch: Padded) -> Tensor:
        """Return the head's logits of each sequence, float32, shape (b, classes)."""
        with self._precision(batch):
            score = getattr(self._inner, "score", None)
            if score is None:
                logits: Tensor = self._inner(**self._inputs(batch)).logits
            else:
                # A decoder's last token has read all others. Hugging Face finds it by the pad
                # token's id, which texts may hold; here it is found by the length.
                states = self._body(**self._inputs(batch)).last_hidden_state
                rows = torch.arange(len(states), device=states.device)
                logits = score(states[rows, batch.lengths - 1])
        return logits.float()

    def token_logits(self, batch: Padded, rows: Tensor, places: Tensor) -> Tensor:
        """Return the next-token logits at the given places only, float32, shape (m, vocabulary)."""
        with self._precision(batch):
            if self._type in DECODERS:
                states = self._body(**self._inputs(batch)).last_hidden_state[rows, places]
                logits: Tensor = self._inner.get_output_embeddings()(states)
            else:
                # Some models scale or cap their logits, so the whole forward pass is theirs.
                logits = self._inner(**self._inputs(batch)).logits[rows, places]
        return logits.float()

    def greedy(self, ids: Tensor, *, most: int, ends: frozenset[int]) -> list[int]:
        """Return the tokens that follow one sequence, each the likeliest; the end is left out.

        Guarantee: it is computed alone, with keys and values kept, so it follows from the sequence,
        the adapter and this machine. What follows an end is computed too and dropped: how long it
        takes says nothing of how long the answer is.

        Args:
            ids: token ids of the prompt, shape (tokens,).
            most: tokens at most; fewer where the model has no positions for them.
            ends: tokens after which nothing is read.
        """
        tokens = list(self.following(ids, most=most))
        end = next((place for place, token in enumerate(tokens) if token in ends), len(tokens))
        return tokens[:end]

    def following(self, ids: Tensor, *, most: int) -> Generator[int]:
        """Yield the likeliest next tokens one by one, ends among them, as `greedy` computes them.

        The model is whole while they are asked for: ask for nothing else before the iterator is
        used up or closed.
        """
        cache, fed = DynamicCache(config=self._inner.config), ids.to(self.device)[None]
        with self._whole(), torch.no_grad(), self._autocast(self.device.type):
            for _ in range(min(most, self.positions - len(ids))):
                said = self._inner(
                    input_ids=fed, past_key_values=cache, use_cache=True, logits_to_keep=1
                )
                token = int(said.logits[0, -1].float().argmax())
                yield token
                fed = torch.tensor([[token]], device=self.device)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Put the frozen prefix back where it was while the block lasts."""
        if self.prefix is None:
            yield
            return
        layers: Any = self._body.layers
        passing = [layers[index] for index in range(self.first_layer)]
        prefix: Any = self.prefix
        for index, layer in enumerate(prefix.layers):
            layers[index] = layer
        try:
            yield
        finally:
            for index, layer in enumerate(passing):
                layers[index] = layer

    def _checkpoints(self) -> bool:
        return self.checkpointing

    def _inputs(self, batch: Padded) -> Mapping[str, Tensor]:
        if batch.inputs.is_floating_point():
            return {"inputs_embeds": batch.inputs, **self._mask(batch)}
        if self.prefix is not None:
            return {"inputs_embeds": self.below(batch), **self._mask(batch)}
        return {"input_ids": batch.inputs, **self._mask(batch)}

    def _mask(self, batch: Padded) -> Mapping[str, Tensor]:
        # Padding stands at the end, where a causal model's tokens cannot see it.
        return {} if self._type in DECODERS else {"attention_mask": batch.mask}

    def _precision(self, batch: Padded) -> AbstractContextManager[Any]:
        return self._autocast(batch.inputs.device.type)

    def _autocast(self, kind: str) -> AbstractContextManager[Any]:
        return torch.autocast(kind, dtype=torch.bfloat16, enabled=self.bfloat16)


def _refuse_inner_loss(_module: nn.Module, _inputs: object, named: Mapping[str, object]) -> None:
    if named.get("labels") is not None:
        # Danger: it is a mean over the batch's tokens, which couples records.
        raise TrainingError("the loss that a model computes inside itself is refused")


def with_adapter(base: Loaded, terms: AdapterTerms) -> Any:  # noqa: ANN401  peft has no types
    """Put the charter's adapter on a base model and return the peft model.

    Raises:
        ModelError: the adapter's targets or layers do not fit the model.
    """
    config = LoraConfig(
        task_type=TaskType[base.peft_type],
        r=terms.rank,
        lora_alpha=terms.alpha,  # type: ignore[arg-type]
        lora_dropout=0.0,
        bias="none",
        target_modules=list(terms.targets),
        layers_to_transform=list(terms.layers),
        layers_pattern=_stack(base.model, terms),
        modules_to_save=list(base.heads) or None,
    )
    try:
        model = get_peft_model(base.model, config)
    except ValueError as error:
        raise ModelError(
            f"adapter.targets {list(terms.targets)} do not fit: {error}. `fedethics model hash "
            "DIR` lists what the layers of this model are called; each is named by itself"
        ) from error
    norms = set(_norms_of_heads(model))
    for name, parameter in model.named_parameters():
        if name in norms or (terms.form == "ffa" and _FROZEN_FACTOR in name):
            parameter.requires_grad_(False)
    return model


def _norms_of_heads(model: nn.Module) -> Iterator[str]:
    """Yield the parameters of norms in heads: they stay as they are, since none is a linear layer.

    A norm has no gradient for each record in either engine; the linear layer after it can learn
    the same scale.
    """
    for place, module in model.named_modules():
        if _HEAD in f"{place}." and type(module).__name__.endswith("Norm"):
            yield from (f"{place}.{name}" for name, _ in module.named_parameters(recurse=False))


def _stack(model: Any, terms: AdapterTerms) -> str:  # noqa: ANN401
    """Return the name of the list of the model's layers, such as "layer" or "h"."""
    count = model.config.num_hidden_layers
    if max(terms.layers) >= count:
        raise ModelError(
            f"adapter.layers names layer {max(terms.layers)}, but the model has layers 0 to "
            f"{count - 1}"
        )
    found = layer_list(model)
    names: list[str] = [name for name, module in model.named_modules() if module is found]
    return names[0].rpartition(".")[2]


def layer_list(model: Any) -> nn.ModuleList:  # noqa: ANN401
    """Return the list of a model's layers.

    Raises:
        ModelError: it has none of that length.
    """
    count = model.config.num_hidden_layers
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise ModelError(
        f"a {model.config.model_type!r} model holds no list of its {count} layers (they may share "
        "weights), so adapter.layers cannot name them; this kind is not supported"
    )


def _initialise(model: Any, base: Loaded, terms: AdapterTerms) -> None:  # noqa: ANN401
    """Set A and fresh heads as peft and transformers would, but from the charter's seed by name."""
    norms = set(_norms_of_heads(model))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            plain = name.removeprefix("base_model.model.").replace(f"{_HEAD}default.", ".")
            fresh = _HEAD in name and plain in base.fresh
            if ".lora_B." in name or (fresh and "bias" in name):
                parameter.zero_()
            elif fresh and name in norms:
                parameter.fill_(1.0)
            elif _FROZEN_FACTOR in name:
                _fill_uniform(parameter, parameter.shape[1] ** -0.5, terms.seed, name)
            elif fresh:
                _fill_uniform(parameter, _HEAD_STD * 3**0.5, terms.seed, name)


def _fill_uniform(parameter: Tensor, limit: float, seed: int, name: str) -> None:
    # Uniform and Philox: integers scaled by exact arithmetic, the same bits on every machine.
    key = hashlib.sha256(f"fedethics/adapter/1/{seed}/{name}".encode()).digest()[:16]
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))
    unit = generator.random(parameter.numel())
    values = ((2.0 * unit - 1.0) * limit).astype(np.float32).reshape(parameter.shape)
    parameter.copy_(torch.from_numpy(values))
