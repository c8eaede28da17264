"""Tiny random models of many families, made from their configurations, with one tokenizer."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    ModernBertConfig,
    Olmo2Config,
    Phi3Config,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
    RobertaConfig,
    SmolLM3Config,
)

from fedethics.charter.document import load
from fedethics.charter.model import Charter
from fedethics.charter.training_terms import AdapterTerms, ModelTerms

HEART = Path(__file__).parents[2] / "configs" / "heart.charter.toml"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrst", "yes", "no", "end"]
_ENCODER = {
    "vocab_size": len(WORDS), "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
    "intermediate_size": 64, "max_position_embeddings": 40, "initializer_range": 0.3,
    "pad_token_id": 0, "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip
_DECODER = {**_ENCODER, "num_key_value_heads": 2}
_DISTIL = {
    "vocab_size": len(WORDS), "dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 64,
    "max_position_embeddings": 40, "initializer_range": 0.3,
}  # fmt: skip
_GPT2 = {
    "vocab_size": len(WORDS), "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 40,
    "initializer_range": 0.3, "pad_token_id": 0, "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip
CONFIGS: dict[str, PretrainedConfig] = {
    "bert": BertConfig(**_ENCODER),
    "roberta": RobertaConfig(**_ENCODER),
    "electra": ElectraConfig(**_ENCODER, embedding_size=32),
    "distilbert": DistilBertConfig(**_DISTIL),
    "gpt2": GPT2Config(**_GPT2),
    "llama": LlamaConfig(**_DECODER),
    "mistral": MistralConfig(**_DECODER, sliding_window=4),
    "qwen2": Qwen2Config(**_DECODER, tie_word_embeddings=True),
    "qwen3": Qwen3Config(**_DECODER, head_dim=8),
    "gemma2": Gemma2Config(
        **_DECODER, head_dim=8, query_pre_attn_scalar=8, sliding_window=4,
        final_logit_softcapping=5.0,
    ),
    "gemma3_text": Gemma3TextConfig(
        **_DECODER, head_dim=8, query_pre_attn_scalar=8, sliding_window=4,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    ),
    "phi3": Phi3Config(**_DECODER, original_max_position_embeddings=40),
    "smollm3": SmolLM3Config(**_DECODER, no_rope_layers=[1, 0, 1]),
    "olmo2": Olmo2Config(**_DECODER),
    "modernbert": ModernBertConfig(**_ENCODER, global_attn_every_n_layers=2, local_attention=4),
    "deberta-v2": DebertaV2Config(
        **_ENCODER, relative_attention=True, pos_att_type=["p2c", "c2p"], position_buckets=8,
        norm_rel_ebd="layer_norm", share_att_key=True, position_biased_input=False,
        type_vocab_size=0, pooler_hidden_size=32,
    ),
}  # fmt: skip
REFUSED: dict[str, PretrainedConfig] = {}
TARGETS = {
    "distilbert": ("q_lin", "v_lin"),
    "gpt2": ("c_attn",),
    **dict.fromkeys(("bert", "roberta", "electra"), ("query", "value")),
    "phi3": ("qkv_proj", "down_proj"),
    "deberta-v2": ("value_proj", "dense"),
    "modernbert": ("Wqkv",),
    **dict.fromkeys(
        ("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "smollm3", "olmo2"),
        ("q_proj", "v_proj", "down_proj"),
    ),
}
CUT = ("bert", "llama", "mistral", "qwen2", "qwen3", "phi3", "smollm3", "olmo2")
DECODERS = (
    "gpt2", "llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "phi3", "smollm3",
    "olmo2",
)  # fmt: skip


def save_tiny(
    folder: Path, family: str, *, task: str = "classification", dtype: torch.dtype = torch.float32
) -> Path:
    """Save a random model of `family` for `task`, in `dtype`, and the tokenizer, to `folder`."""
    kind: Any = AutoModelForCausalLM if task == "causal-lm" else AutoModel
    with torch.random.fork_rng():
        torch.manual_seed(0)
        kind.from_config({**CONFIGS, **REFUSED}[family]).to(dtype).save_pretrained(folder)
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    words.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]"
    ).save_pretrained(folder)
    return folder


def charter_for(
    folder: Path,
    family: str,
    *,
    task: str = "classification",
    answer: str = "{label} end",
    negative: str = "no a",
    **adapter: Any,
) -> Charter:
    """Return the heart charter on the tiny model in `folder`."""
    heart = load(HEART)
    label = dataclasses.replace(heart.data.label, positive_name="yes", negative_name=negative)
    words = {"prompt": "a b {text} c", "answer": answer} if task == "causal-lm" else {}
    weights = (folder / "model.safetensors").read_bytes()
    terms: dict[str, Any] = {
        "rank": 2, "alpha": 4.0, "targets": TARGETS[family], "layers": (1, 2), "form": "both",
        "seed": 7, **adapter,
    }  # fmt: skip
    return dataclasses.replace(
        heart,
        data=dataclasses.replace(heart.data, label=label),
        model=ModelTerms(
            name="tiny",
            sha256=hashlib.sha256(weights).hexdigest(),
            max_tokens=20,
            task=task,
            **words,
        ),
        adapter=AdapterTerms(**terms),
    )
