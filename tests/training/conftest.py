"""A tiny random BERT with a tokenizer of its own, and the charter that names it."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from fedethics.charter.document import load
from fedethics.charter.model import Charter
from fedethics.charter.training_terms import AdapterTerms, ModelTerms
from fedethics.privacy.noise import NoiseSource
from fedethics.training.learner import Learner
from fedethics.training.local_terms import LocalTerms

HEART = Path(__file__).parents[2] / "configs" / "heart.charter.toml"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrst"]
torch.set_num_threads(1)


def in_company(activations, rows, size):
    """Yield `rows` in batches of `size`, each padded to its longest."""
    for start in range(0, len(rows), size):
        yield activations.together(rows[start : start + size])


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """Folder of a random three-layer BERT, width 32."""
    folder = tmp_path_factory.mktemp("tiny")
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=32,
        initializer_range=0.3,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    words.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]"
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_charter(tiny_folder):
    """Build a charter on the tiny model: `tiny_charter(layers=(1, 2), form="both")`."""
    weights = (tiny_folder / "model.safetensors").read_bytes()
    adapter = AdapterTerms(
        rank=2, alpha=4.0, targets=("query", "value"), layers=(2,), form="ffa", seed=7
    )

    def build(**changes) -> Charter:
        return dataclasses.replace(
            load(HEART),
            model=ModelTerms(
                name="tiny", sha256=hashlib.sha256(weights).hexdigest(), max_tokens=16
            ),
            adapter=dataclasses.replace(adapter, **changes),
        )

    return build


@pytest.fixture(scope="session")
def tiny(tiny_charter, tiny_folder):
    """Build a learner on the tiny model, one for each set of adapter terms."""
    built: dict[tuple, Learner] = {}

    def build(**changes) -> Learner:
        key = tuple(sorted(changes.items()))
        if key not in built:
            built[key] = Learner(tiny_charter(**changes), model_dir=tiny_folder)
        return built[key]

    return build


@pytest.fixture(scope="session")
def texts() -> tuple[str, ...]:
    """Twelve texts of different lengths, one of them longer than the model reads."""
    random = np.random.default_rng(1)
    lengths = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 30]
    return tuple(" ".join(random.choice(WORDS[4:], size=length)) for length in lengths)


@pytest.fixture(scope="session")
def labels():
    return np.array([0, 1] * 6, dtype=np.int8)


@pytest.fixture
def noise() -> NoiseSource:
    return NoiseSource.fixed(b"training tests")


@pytest.fixture(scope="session")
def terms():
    """Build local terms: `terms(noise_multiplier=2.0)`."""

    def build(**changes) -> LocalTerms:
        plain = {
            "steps": 1,
            "sampling_rate": 1.0,
            "clipping_norm": 0.5,
            "noise_multiplier": 0.0,
            "expected_batch": 12.0,
            "optimizer": "sgd",
            "learning_rate": 1.0,
        }
        return LocalTerms(**{**plain, **changes})

    return build


@pytest.fixture(scope="session")
def moved():
    """A vector at which no gradient vanishes: `moved(learner)`."""

    def build(learner: Learner):
        random = np.random.default_rng(3)
        shift = 0.1 * random.standard_normal(learner.size)
        return (learner.initial_vector() + shift).astype(np.float32)

    return build
