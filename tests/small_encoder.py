"""A small random encoder in place of the embedded one, for tests of what surrounds the model.

A federation of two rounds computes some 700 forward passes; with these weights they cost next to
nothing. The texts are read by the embedded model's own tokenizer. Tests of figures that a real
model gives name the embedded one (`Lab.stage(embedded=True)`).
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel

from fedethics.charter.training_terms import AdapterTerms, ModelTerms
from fedethics.training import locate

NAME = "small-encoder"
ADAPTER = AdapterTerms(
    rank=4, alpha=64.0, targets=("query", "value"), layers=(1,), form="ffa", seed=7
)
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def save(folder: Path, *, width: int = 32, layers: int = 2, spread: float = 0.3) -> ModelTerms:
    """Save the encoder to `folder`, and return the terms that name it.

    Args:
        folder: where it is written.
        width: of its states.
        layers: how many.
        spread: standard deviation of its random weights.
    """
    embedded = locate._embedded("all-MiniLM-L6-v2").folder
    for name in _TOKENIZER:
        if (embedded / name).exists():
            shutil.copy(embedded / name, folder)
    config = BertConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=128,
        initializer_range=spread,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    weights = (folder / locate.WEIGHTS).read_bytes()
    return ModelTerms(name=NAME, sha256=hashlib.sha256(weights).hexdigest(), max_tokens=96)


@contextmanager
def installed(folder: Path) -> Iterator[ModelTerms]:
    """Let this process find the encoder by its name alone, as one that a package carries."""
    terms, others = save(folder), locate._embedded

    def find(name: str) -> locate.BaseModel:
        return locate.BaseModel(folder) if name == NAME else others(name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(locate, "_embedded", find)
        yield terms
