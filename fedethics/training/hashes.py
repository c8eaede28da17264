"""Hashes of all that a model's vector does not hold; they bind what sites must have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from peft import get_peft_model_state_dict
from torch import nn

from fedethics import canonical, terms
from fedethics.charter.model import Charter
from fedethics.learning_tasks import find_task


def prefix_hash(charter: Charter, digests: Mapping[str, str], first_layer: int) -> str:
    """Return the SHA-256 of all that activations depend on besides the text.

    Args:
        charter: its model (weights, quantisation, words) and the labels' names.
        digests: of tokenizer and configuration.
        first_layer: number of layers whose output is cached.
    """
    classes = find_task(charter.model.task).classes(charter.data.label)
    model = terms.document(charter.model)
    return canonical.sha256_hex(
        canonical.encode(
            {
                "model": model,
                "labels": [*classes],
                "first-layer": first_layer,
                **digests,
            }
        )
    )


def basis_hash(prefix: str, model: Any, parameters: Mapping[str, nn.Parameter]) -> str:  # noqa: ANN401
    """Return the SHA-256 of the prefix, frozen adapter parts, and the vector's names and shapes."""
    adapter = get_peft_model_state_dict(model, save_embedding_layers=False)
    trained = {saved_name(name) for name in parameters}
    frozen: dict[str, canonical.Json] = {
        name: hashlib.sha256(value.cpu().numpy().astype("<f4").tobytes()).hexdigest()
        for name, value in adapter.items()
        if name not in trained
    }
    config = model.peft_config["default"]
    return canonical.sha256_hex(
        canonical.encode(
            {
                "prefix": prefix,
                "frozen": frozen,
                "scaling": config.lora_alpha / config.r,
                "vector": [[name, list(p.shape)] for name, p in parameters.items()],
            }
        )
    )


def saved_name(name: str) -> str:
    """Return the name under which peft saves a parameter."""
    return name.replace(".modules_to_save.default", "").replace(".default", "")
