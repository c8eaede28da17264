"""A release that writes answers writes those of plain transformers, one to each prompt."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from fedethics.data.forms import read_prompt
from fedethics.data.records import CellProblem
from fedethics.errors import DataError, ReleaseError
from fedethics.scoring import score
from fedethics.scoring.export import export_release
from fedethics.scoring.score import score_release
from tests.learning_tasks.tiny_chat import chat_charter, save_chat_model
from tests.scoring.test_export import of  # noqa: F401  fixture

ASKED = ["are you there?", "say yes", "no or yes?"]


def turns(*said):
    roles = ("user", "assistant")
    return [{"role": roles[at % 2], "content": text} for at, text in enumerate(said)]


@pytest.fixture
def released(of, monkeypatch, tmp_path):  # noqa: F811
    made = of("sft")
    monkeypatch.setattr(
        score, "require_released",
        lambda _run: type("Opened", (), {
            "path": made.run, "charter": made.charter,
            "evidence": type("E", (), {"model_hash": _digest(made.run)}),
        }),
    )  # fmt: skip
    return made


def _digest(run):
    return hashlib.sha256((run / "adapter" / "adapter_model.safetensors").read_bytes()).hexdigest()


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_each_answer_is_that_of_plain_transformers_and_an_old_answer_is_not_read(
    released, tmp_path
):
    records = [{"messages": turns(text)} for text in ASKED]
    records[1]["messages"] = turns(ASKED[1], "an old answer")
    data = write(tmp_path / "new.jsonl", records)
    out = tmp_path / "answers.jsonl"
    done = score_release(released.run, data=data, out=out, model_dir=released.base, most_tokens=10)
    assert done.records == 3 and done.decided == {"answered": 3}
    written = [json.loads(line)["answer"] for line in out.read_text().splitlines()]
    export_release(released.run, out=tmp_path / "model", model_dir=released.base)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    for text, said in zip(ASKED, written, strict=True):
        asked = tokenizer.apply_chat_template(
            turns(text), add_generation_prompt=True, return_dict=True, return_tensors="pt"
        )
        with torch.no_grad():
            ids = model.generate(**asked, max_new_tokens=10, do_sample=False)[0]
        own = ids[asked["input_ids"].shape[1] :]
        assert said == tokenizer.decode(own, skip_special_tokens=True)


def test_a_prompt_that_does_not_fit_is_said_and_others_are_answered(released, tmp_path):
    records = [{"messages": turns("x" * 2000)}, {"messages": turns("hello")}]
    data = write(tmp_path / "new.jsonl", records)
    out = tmp_path / "answers.csv"
    score_release(released.run, data=data, out=out, model_dir=released.base, most_tokens=2)
    first, second = csv.DictReader(out.open(newline=""))
    assert "longer than" in first["not_scored"] and not first["answer"]
    assert not second["not_scored"]


def test_a_file_without_a_question_at_its_end_writes_nothing(released, tmp_path):
    records = [{"messages": [{"role": "system", "content": "be kind"}]}]
    data = write(tmp_path / "new.jsonl", records)
    with pytest.raises((DataError, ReleaseError), match="no question of a user"):
        score_release(released.run, data=data, out=tmp_path / "a.jsonl", model_dir=released.base)
    assert not (tmp_path / "a.jsonl").exists()


def test_what_asks_nothing_has_no_prompt(tmp_path):
    charter = chat_charter(save_chat_model(tmp_path))
    content = charter.data.content
    with pytest.raises(CellProblem, match="ask nothing"):
        read_prompt({"text": "so"}, dataclasses.replace(content, form="text", text="text"))
    plain = dataclasses.replace(content, form="prompt-completion")
    asked = read_prompt({plain.prompt: "why?"}, plain)
    assert (asked.prompt, asked.completion) == ("why?", "")
