"""A tiny random Llama with a byte tokenizer, control tokens and a chat template, and a charter."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from fedethics.charter.data_terms import ContentTerms
from fedethics.charter.document import load
from fedethics.charter.model import Charter
from fedethics.charter.training_terms import AdapterTerms, ModelTerms

HEART = Path(__file__).parents[2] / "configs" / "heart.charter.toml"
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MARKS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MERGES = [("e", "s"), ("y", "es"), ("Ġ", "yes"), ("n", "o"), ("Ġ", "no"), ("Ċ", "Ċ")]


def byte_tokenizer() -> Tokenizer:
    """Return a tokenizer of bytes, some merges, and three control tokens."""
    words = [*MARKS, *sorted(ByteLevel.alphabet()), *("".join(pair) for pair in MERGES)]
    model = BPE(vocab={word: i for i, word in enumerate(words)}, merges=MERGES)
    raw = Tokenizer(model)
    raw.pre_tokenizer = ByteLevel(add_prefix_space=False)
    raw.decoder = ByteDecoder()
    raw.add_special_tokens([AddedToken(mark, special=True) for mark in MARKS])
    return raw


def save_chat_model(folder: Path, *, template: str | None = CHATML) -> Path:
    """Save a random model of three layers, width 32, with its tokenizer."""
    raw = byte_tokenizer()
    config = LlamaConfig(
        vocab_size=raw.get_vocab_size(), hidden_size=32, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, intermediate_size=64,
        max_position_embeddings=256, initializer_range=0.3, pad_token_id=0,
        bos_token_id=None, eos_token_id=2, tie_word_embeddings=True,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token=MARKS[0], eos_token=MARKS[2]
    )
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return folder


def chat_charter(folder: Path, *, form: str = "messages", **model: object) -> Charter:
    """Return the heart charter on that model, for free text in `form`."""
    heart = load(HEART)
    weights = (folder / "model.safetensors").read_bytes()
    terms = {
        "name": "tiny", "sha256": hashlib.sha256(weights).hexdigest(), "max_tokens": 96,
        "task": "sft", **model,
    }  # fmt: skip
    columns = tuple(dataclasses.replace(one, phrase="") for one in heart.data.columns)
    content = ContentTerms(form=form, max_characters=5000)
    return dataclasses.replace(
        heart,
        data=dataclasses.replace(heart.data, label=None, content=content, columns=columns),
        model=ModelTerms(**terms),
        adapter=AdapterTerms(
            rank=2, alpha=4.0, targets=("q_proj", "v_proj"), layers=(1, 2), form="both", seed=7
        ),
    )
