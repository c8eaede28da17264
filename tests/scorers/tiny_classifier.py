"""A tiny random classifier of texts in a folder, with the labels fine and toxic."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

_WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrst"]


def save_classifier(folder: Path) -> Path:
    """Save a BERT of one layer, width 32, whose scores differ from text to text."""
    config = BertConfig(
        vocab_size=len(_WORDS), hidden_size=32, num_hidden_layers=1, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=32, initializer_range=0.3,
        id2label={0: "fine", 1: "toxic"}, label2id={"fine": 0, "toxic": 1},
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = BertForSequenceClassification(config)
        model.classifier.weight.data.mul_(4)
        model.save_pretrained(folder)
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(_WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    words.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]"
    ).save_pretrained(folder)
    return folder
