"""The model of one charter as a vector: what is trained, hashed, scored and saved.

Everything trainable is one float32 vector: parameters sorted by name, each in row-major order.
The names and shapes are part of `basis_hash`.
"""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoTokenizer

from fedethics import canonical
from fedethics.charter.model import Charter
from fedethics.errors import ModelError
from fedethics.training.activations import Activations, Batch
from fedethics.training.locate import locate_model
from fedethics.training.network import build_network

_SCORING_BATCH = 64
_TOKENIZER = "tokenizer.json"
# What of a configuration changes the function that the weights compute.
_FUNCTIONAL = (
    "model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "hidden_act", "layer_norm_eps", "max_position_embeddings", "vocab_size", "type_vocab_size",
    "pad_token_id",
)  # fmt: skip


class Learner:
    """The base model with its adapter. It keeps no result between calls; calls take turns.

    Attributes:
        basis_hash: SHA-256 of all that the vector does not hold: base weights, tokenizer,
            configuration, frozen adapter parts, and the vector's names and shapes.
        prefix_hash: SHA-256 of all that activations depend on besides the text.
        parameters: the trainable parameters by name, in vector order; views into `flat`.
        flat: the vector as the network sees it, float32, shape (p,).
        lock: held while `flat` belongs to one caller.
    """

    def __init__(
        self, charter: Charter, *, model_dir: Path | None = None, device: str = "cpu"
    ) -> None:
        """Load the model that `charter` names.

        Raises:
            ModelError: missing, another hash, not a supported kind, the adapter does not fit, or
                there is no such device.
        """
        if device != "cpu" and not torch.cuda.is_available():
            raise ModelError(
                f"device {device!r} was asked for, but PyTorch sees no CUDA device here; set "
                'compute.device = "cpu" in policy.toml or mend the driver'
            )
        folder = locate_model(charter.model, model_dir=model_dir)
        self._charter = charter
        self._device = device
        self._tokenizer = _load_tokenizer(folder)
        network = build_network(folder, charter.adapter, device=device)
        self._prefix, self.model = network.prefix, network.model
        self.parameters = _trainable(self.model)
        self.flat = _flatten(self.parameters)
        self._initial = self.flat.cpu().numpy().copy()
        self.prefix_hash = _prefix_hash(charter, folder, self.model.config, network.first_layer)
        self.basis_hash = _basis_hash(self.prefix_hash, self.model, self.parameters)
        self.lock = threading.RLock()

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

    def activations(self, texts: tuple[str, ...]) -> Activations:
        """Return what the frozen layers make of each text, float32, longer texts cut at the end."""
        encoded = self._tokenizer(
            list(texts), truncation=True, max_length=self._charter.model.max_tokens
        )["input_ids"]
        order = sorted(range(len(texts)), key=lambda row: len(encoded[row]))
        hidden: list[Tensor] = [torch.empty(0)] * len(texts)
        for start in range(0, len(order), _SCORING_BATCH):
            rows = order[start : start + _SCORING_BATCH]
            batch = self._tokenizer.pad(
                {"input_ids": [encoded[r] for r in rows]}, return_tensors="pt"
            )
            with torch.no_grad():
                states = self._prefix(**batch.to(self._device)).last_hidden_state
            for row, state in zip(rows, states, strict=True):
                # A copy, so that the padded batch is freed.
                hidden[row] = state[: len(encoded[row])].clone()
        return Activations(tuple(hidden))

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
        """Return the network's two logits for each record of `batch`, shape (b, 2)."""
        output = self.model(inputs_embeds=batch.hidden, attention_mask=batch.mask)
        logits: Tensor = output.logits
        return logits

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
        with self.lock:
            self.load(vector)
            tensors = get_peft_model_state_dict(self.model, save_embedding_layers=False)
            copies = {name: value.detach().cpu().clone() for name, value in tensors.items()}
        save_file(copies, directory / "adapter_model.safetensors", metadata={"format": "pt"})
        config = self.model.peft_config["default"].to_dict()
        config["base_model_name_or_path"] = self._charter.model.name
        config["inference_mode"] = True
        text = json.dumps(config, indent=2, sort_keys=True, default=sorted)
        (directory / "adapter_config.json").write_text(text + "\n", encoding="utf-8")


def _load_tokenizer(folder: Path) -> Any:  # noqa: ANN401  transformers has no types
    if not (folder / _TOKENIZER).is_file():
        raise ModelError(
            f"{folder} holds no {_TOKENIZER}; texts could not be read alike everywhere"
        )
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


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


def _prefix_hash(charter: Charter, folder: Path, config: Any, first_layer: int) -> str:  # noqa: ANN401
    tokenizer = (folder / _TOKENIZER).read_bytes()
    return canonical.sha256_hex(
        canonical.encode(
            {
                "weights": charter.model.sha256,
                "tokenizer": canonical.sha256_hex(tokenizer),
                "max-tokens": charter.model.max_tokens,
                "config": {name: getattr(config, name) for name in _FUNCTIONAL},
                "first-layer": first_layer,
            }
        )
    )


def _basis_hash(prefix_hash: str, model: Any, parameters: dict[str, nn.Parameter]) -> str:  # noqa: ANN401
    adapter = get_peft_model_state_dict(model, save_embedding_layers=False)
    trained = {_saved_name(name) for name in parameters}
    frozen: dict[str, canonical.Json] = {
        name: hashlib.sha256(value.cpu().numpy().astype("<f4").tobytes()).hexdigest()
        for name, value in adapter.items()
        if name not in trained
    }
    config = model.peft_config["default"]
    return canonical.sha256_hex(
        canonical.encode(
            {
                "prefix": prefix_hash,
                "frozen": frozen,
                "scaling": config.lora_alpha / config.r,
                "vector": [[name, list(p.shape)] for name, p in parameters.items()],
            }
        )
    )


def _saved_name(name: str) -> str:
    """Return the name under which peft saves a parameter."""
    return name.replace(".modules_to_save.default", "").replace(".default", "")
