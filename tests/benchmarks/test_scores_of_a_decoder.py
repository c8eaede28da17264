"""Log-probabilities of benchmarks, against a loop with one text at a time and no batch."""

from __future__ import annotations

import dataclasses
import json
import types

import pytest
import torch
from transformers import AutoModelForCausalLM, BertConfig, BertLMHeadModel

from fedethics.benchmarks import results, running
from fedethics.benchmarks.benchmark import Facts, Item
from fedethics.benchmarks.registry import BENCHMARKS
from fedethics.charter.document import load
from fedethics.errors import ModelError, ReleaseError
from fedethics.training.learner import Learner
from fedethics.training.likelihood import of_charter, of_folder
from tests.benchmarks.tiny_benchmark import Tiny
from tests.learning_tasks.tiny_chat import HEART, byte_tokenizer, chat_charter, save_chat_model

# The last one's two choices differ in their last token alone, where the tokens allow it.
ASKED = (
    ("", "he ran", "she ran off"),
    ("is it?", " yes", " no"),
    ("who?\nA:", " Ann", " B", " C d"),
    ("who?\nB:", " yes", " yesyes"),
)
ITEMS = [
    Item(facts=Facts(id=str(n), slices=("a",), unit=str(n)), prompt=prompt, choices=tuple(choices))
    for n, (prompt, *choices) in enumerate(ASKED)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_chat_model(tmp_path_factory.mktemp("decoder"))


def alone(model, prompt, choice):
    """One text, one token at a time, by the chain rule; the end-of-text token stands before all."""
    raw = byte_tokenizer()
    before = raw.encode(prompt).ids if prompt else [2]
    whole = raw.encode(prompt + choice).ids if prompt else [2, *raw.encode(choice).ids]
    total = 0.0
    for place in range(len(before), len(whole)):
        with torch.no_grad():
            logits = model(torch.tensor([whole[:place]])).logits[0, -1].double()
        total += float(logits[whole[place]] - torch.logsumexp(logits, dim=0))
    return total, len(whole) - len(before)


def test_each_choice_has_the_log_probability_of_its_tokens(folder):
    plain = AutoModelForCausalLM.from_pretrained(folder).eval()
    scored = of_folder(str(folder)).score(ITEMS)
    for item, found in zip(ITEMS, scored, strict=True):
        wanted = [alone(plain, item.prompt, choice) for choice in item.choices]
        assert found.tokens == tuple(count for _, count in wanted)
        assert found.sums[0] == pytest.approx([total for total, _ in wanted], abs=1e-3)
        assert len(found.sums) == 1


def test_before_and_after_are_the_base_and_the_base_with_the_adapter(folder, tmp_path):
    charter = chat_charter(folder)
    learner = Learner(charter, model_dir=folder)
    vector = learner.seeded_vector() + 0.2
    learner.save_adapter(vector, tmp_path)
    model = of_charter(charter, "0" * 64, adapter=tmp_path, model_dir=folder)
    found, base = model.score(ITEMS), of_folder(str(folder)).score(ITEMS)
    learner.load(vector)
    for item, both, alone_ in zip(ITEMS, found, base, strict=True):
        assert both.sums[0] == pytest.approx(alone_.sums[0], abs=1e-3)
        assert both.sums[1] != pytest.approx(both.sums[0], abs=1e-2), item.facts.id
    merged = _merged(folder, tmp_path)
    for item, both in zip(ITEMS, found, strict=True):
        wanted = [alone(merged, item.prompt, choice)[0] for choice in item.choices]
        assert both.sums[1] == pytest.approx(wanted, abs=1e-3)


def _merged(folder, adapter):
    from peft import PeftModel

    base = AutoModelForCausalLM.from_pretrained(folder)
    return PeftModel.from_pretrained(base, adapter).merge_and_unload().eval()


def test_a_classifier_and_an_encoder_are_refused_by_name(folder, tmp_path):
    with pytest.raises(ModelError, match="trains a classifier"):
        of_charter(load(HEART), "0" * 64, adapter=None, model_dir=None)
    raw = byte_tokenizer()
    config = BertConfig(
        vocab_size=raw.get_vocab_size(), hidden_size=16, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=16, eos_token_id=2, initializer_range=0.3,
    )  # fmt: skip
    BertLMHeadModel(config).save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text(raw.to_str(), encoding="utf-8")
    with pytest.raises(ModelError, match="encoder"):
        of_folder(str(tmp_path))


@pytest.fixture
def asked(monkeypatch):
    monkeypatch.setitem(BENCHMARKS, "tiny", Tiny())
    return running.Plan(suite="quick", parts=((BENCHMARKS["tiny"], Tiny.made),))


def dies(_items):
    raise AssertionError("asked again")


def test_a_run_that_was_killed_ends_with_the_same_bytes(folder, tmp_path, asked):
    model = of_folder(str(folder))
    whole = running.run(asked, model, tmp_path / "whole.jsonl")
    data = (tmp_path / "whole.jsonl").read_bytes()
    assert whole.header.adapter_sha256 is None and len(whole.lines["tiny"]) == 70
    starts = [0, 10, data.index(b"\n") + 1, len(data) // 3, len(data) // 2, len(data) - 5]
    for place, cut in enumerate(starts):
        out = tmp_path / f"{place}.jsonl"
        out.write_bytes(data[:cut])
        running.run(asked, model, out)
        assert out.read_bytes() == data, cut

    # What is complete is not asked again.
    fields = {one.name: getattr(model, one.name) for one in dataclasses.fields(model)}
    running.run(asked, types.SimpleNamespace(**fields, score=dies), tmp_path / "whole.jsonl")
    assert (tmp_path / "whole.jsonl").read_bytes() == data


def test_results_of_something_else_are_neither_continued_nor_read(folder, tmp_path, asked):
    out = tmp_path / "out.jsonl"
    model = of_folder(str(folder))
    running.run(asked, model, out)
    other = dataclasses.replace(model, base_sha256="f" * 64)
    with pytest.raises(ReleaseError, match="another model"):
        running.run(asked, other, out)
    data = out.read_bytes()
    for changed, said in (
        (data.replace(b'"slices":["a"]', b'"slices":["b"]', 1), "are not those of suite"),
        (b"\n".join(data.split(b"\n")[:-2]) + b"\n", "not complete"),
        (data.replace(b'"unit":"3"', b'"unit":"3","why":1', 1), "unknown key"),
    ):
        with pytest.raises(ReleaseError, match=said):
            results.parse(changed, what="results")
    lines = data.split(b"\n")
    dropped = b"\n".join([lines[0], *lines[2:]]).replace(b'"items":70}', b'"items":69}')
    with pytest.raises(ReleaseError, match=r"are not those of suite|cannot be read"):
        results.parse(dropped, what="results")
    assert json.loads(lines[-2]) == {"complete": True, "items": 70}
