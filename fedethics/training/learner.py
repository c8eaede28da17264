"""The model of one charter as a vector: what is trained, hashed, scored and saved.

Everything trainable is one float32 vector: parameters sorted by name, each in row-major order.
The names and shapes are part of `basis_hash`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from peft import get_peft_model_state_dict
from safetensors.torch import save
from torch import Tensor, nn

from fedethics import canonical
from fedethics.charter.model import Charter
from fedethics.errors import ModelError
from fedethics.policy.compute import Compute
from fedethics.training.activations import Activations, Batch
from fedethics.training.causal_lm import CausalLM
from fedethics.training.classification import Classification
from fedethics.training.hashes import basis_hash, prefix_hash
from fedethics.training.loading import config_digest, load_base, load_tokenizer, tokenizer_digest
from fedethics.training.locate import locate_model
from fedethics.training.network import Network
from fedethics.training.state_file import states_on_disk

_SCORING_BATCH = 64
# Records whose frozen layers' output is computed before it is put away.
_CHUNK = 256
_ON_CPU = Compute()


class Task(Protocol):
    """What a charter's task makes of texts and of the network's output."""

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each record's entry."""

    def views(self, entry: Tensor) -> tuple[Tensor, ...]:
        """Return the sequences that the network reads of an entry."""

    def join(self, views: Sequence[Tensor]) -> Tensor:
        """Return the entry whose views these are."""

    def logits(self, batch: Batch) -> Tensor:
        """Return two logits of each record, float32, shape (b, 2)."""

    def losses(self, batch: Batch, targets: Tensor) -> Tensor:
        """Return one loss of each record, float32, shape (b,)."""


class Learner:
    """The base model with its adapter. It keeps no result between calls; calls take turns.

    Attributes:
        basis_hash: SHA-256 of all that the vector does not hold: base weights, tokenizer,
            configuration, task, frozen adapter parts, and the vector's names and shapes.
        prefix_hash: SHA-256 of all that activations depend on besides the text.
        parameters: the trainable parameters by name, in vector order; views into `flat`.
        flat: the vector as the network sees it, float32, shape (p,).
        lock: held while `flat` belongs to one caller.
        cached: whether activations are those of a frozen prefix, computed once.
        compute: where and how it runs, by the site's own choice.
    """

    def __init__(
        self,
        charter: Charter,
        *,
        model_dir: Path | None = None,
        compute: Compute = _ON_CPU,
    ) -> None:
        """Load the model that `charter` names.

        Raises:
            ModelError: missing, another hash, not a supported kind, the adapter does not fit, or
                there is no such device.
            TrainingError: the model cannot be trained record by record.
        """
        if compute.device != "cpu" and not torch.cuda.is_available():
            raise ModelError(
                f"device {compute.device!r} was asked for, but PyTorch sees no CUDA device here; "
                'set compute.device = "cpu" in policy.toml or mend the driver'
            )
        base = locate_model(charter.model, model_dir=model_dir)
        tokenizer = load_tokenizer(base)
        loaded = load_base(base, charter.model.task)
        digests = {
            "tokenizer": tokenizer_digest(base),
            "config": config_digest(loaded.model.config),
        }
        self._charter = charter
        self._network = Network(
            loaded,
            charter.adapter,
            pad_id=tokenizer.pad_token_id,
            device=compute.device,
            quantisation=charter.model.quantisation,
        )
        if self._network.quantised:
            digests["quantised"] = self._network.quantised
        self._network.bfloat16 = compute.dtype == "bfloat16"
        self._network.checkpointing = compute.checkpointing
        self.compute = compute
        self._task = _task(charter, self._network, tokenizer)
        self.model = self._network.model
        self.cached = self._network.prefix is not None
        self.parameters = _trainable(self.model)
        self.flat = _flatten(self.parameters)
        self._initial = self.flat.cpu().numpy().copy()
        self.prefix_hash = prefix_hash(charter, digests, self._network.first_layer)
        self.basis_hash = basis_hash(self.prefix_hash, self.model, self.parameters)
        self.lock = threading.RLock()

    @property
    def max_tokens(self) -> int:
        """Tokens to which a longer text is cut, by the charter."""
        return self._charter.model.max_tokens

    @property
    def size(self) -> int:
        """Number of trainable parameters, p."""
        return self._initial.size

    def initial_vector(self) -> NDArray[np.float32]:
        """Return the vector that training starts from, shape (p,); the same on every machine."""
        return self._initial.copy()

    def model_hash(self, vector: NDArray[np.float32]) -> str:
        """Return the SHA-256 of the whole model with this vector: what an opening binds."""
        data = bytes.fromhex(self.basis_hash) + vector.astype("<f4").tobytes()
        return canonical.sha256_hex(data)

    def tokens(self, texts: Sequence[str]) -> Activations:
        """Return the token ids of each text: what every step reads where nothing is cached."""
        device = self._network.device
        return Activations(tuple(torch.tensor(i, device=device) for i in self._task.ids(texts)))

    def activations(self, texts: Sequence[str]) -> Activations:
        """Return what the frozen layers make of each text, float32, longer texts cut.

        In memory or on disk, as `compute` says. Token ids, where the model is not cut or the
        states would take more than `compute.cache_gib`.

        Raises:
            TrainingError: there is no room on the disk.
        """
        entries = self.tokens(texts)
        width = int(self.model.config.hidden_size)
        lengths = [len(entry) for entry in entries.hidden]
        if not self.cached or 4 * width * sum(lengths) > self.compute.cache_gib * 2**30:
            return entries
        chunks = (
            self._states(entries.hidden[start : start + _CHUNK])
            for start in range(0, len(entries), _CHUNK)
        )
        states = (state for chunk in chunks for state in chunk)
        if self.compute.cache == "memory":
            return Activations(tuple(states))
        places = states_on_disk(lengths, width, Path(self.compute.cache_dir))
        for place, state in zip(places, states, strict=True):
            place.copy_(state)
        return Activations(places)

    def scores(self, vector: NDArray[np.float32], activations: Activations) -> NDArray[np.float64]:
        """Return each record's probability of the positive label, float64, shape (n,)."""
        result = np.empty(len(activations), dtype=np.float64)
        rows = np.arange(len(activations))
        with self.lock, torch.no_grad():
            self.load(vector)
            for batch in activations.batches(rows, _SCORING_BATCH):
                chances = self.logits(batch).double().softmax(dim=1)[:, 1]
                result[batch.rows] = chances.cpu().numpy()
        return result

    def logits(self, batch: Batch) -> Tensor:
        """Return two logits for each record of `batch`, no and yes, float32, shape (b, 2)."""
        return self._task.logits(batch)

    def losses(self, batch: Batch, labels: NDArray[np.int8]) -> Tensor:
        """Return the loss of each record of `batch`, float32, shape (b,): of that record alone.

        Args:
            batch: at least one record.
            labels: labels of all records, of which `batch.rows` are used.
        """
        targets = torch.from_numpy(labels[batch.rows].astype(np.int64))
        return self._task.losses(batch, targets.to(self._network.device))

    @contextmanager
    def plainly(self, *, checkpointing: bool = False) -> Iterator[None]:
        """Compute in float32 inside, and as `checkpointing` says, whatever the policy chose."""
        network = self._network
        chosen = network.bfloat16, network.checkpointing
        network.bfloat16, network.checkpointing = False, checkpointing
        try:
            yield
        finally:
            network.bfloat16, network.checkpointing = chosen

    def load(self, vector: NDArray[np.float32]) -> None:
        """Put `vector` into the network. Hold `lock` for as long as it must stay there.

        Raises:
            ModelError: the vector has another length.
        """
        if vector.shape != (self.size,):
            raise ModelError(f"adapter vector of shape {vector.shape}, expected ({self.size},)")
        with torch.no_grad():
            self.flat.copy_(torch.from_numpy(np.ascontiguousarray(vector)))

    def save_adapter(self, vector: NDArray[np.float32], directory: Path) -> None:
        """Write the adapter in peft's own format.

        It loads with `PeftModel.from_pretrained` on the base model with two labels. Equal vectors
        give equal bytes; the base model is named by the charter, not by a path of this machine.
        """
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "adapter_model.safetensors").write_bytes(self.adapter_bytes(vector))
        config = self.model.peft_config["default"].to_dict()
        config["base_model_name_or_path"] = self._charter.model.name
        config["inference_mode"] = True
        text = json.dumps(config, indent=2, sort_keys=True, default=sorted)
        (directory / "adapter_config.json").write_text(text + "\n", encoding="utf-8")

    def adapter_bytes(self, vector: NDArray[np.float32]) -> bytes:
        """Return the adapter_model.safetensors of `vector`; equal vectors give equal bytes."""
        with self.lock:
            self.load(vector)
            tensors = get_peft_model_state_dict(self.model, save_embedding_layers=False)
            copies = {name: value.detach().cpu().clone() for name, value in tensors.items()}
        return save(copies, metadata={"format": "pt"})

    def _states(self, entries: Sequence[Tensor]) -> list[Tensor]:
        """Return the frozen prefix's states of each entry of token ids."""
        views = [self._task.views(entry) for entry in entries]
        states = iter(self._below([view for several in views for view in several]))
        return [self._task.join([next(states) for _ in several]) for several in views]

    def _below(self, sequences: list[Tensor]) -> list[Tensor]:
        """Return the frozen prefix's states of each sequence of ids."""
        states = [torch.empty(0)] * len(sequences)
        for batch in Activations(tuple(sequences)).batches(
            np.arange(len(sequences)), _SCORING_BATCH
        ):
            below = self._network.below(self._network.pad(list(batch.hidden)))
            for row, one, ids in zip(batch.rows, below, batch.hidden, strict=True):
                # A copy, so that the padded batch is freed.
                states[row] = one[: len(ids)].clone()
        return states


def _task(charter: Charter, network: Network, tokenizer: Any) -> Task:  # noqa: ANN401
    if charter.model.task == "classification":
        return Classification(network, tokenizer, charter.model)
    label = charter.data.label
    names = (label.negative_name, label.positive_name)
    return CausalLM(network, tokenizer, charter.model, names)


def _trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    return {name: named[name] for name in sorted(named)}


def _flatten(parameters: dict[str, nn.Parameter]) -> Tensor:
    """Return one vector of all parameters, and make each parameter a view into it."""
    flat = torch.cat([parameter.detach().reshape(-1) for parameter in parameters.values()])
    start = 0
    for parameter in parameters.values():
        end = start + parameter.numel()
        parameter.data = flat[start:end].view(parameter.shape)
        start = end
    return flat
