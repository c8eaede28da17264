"""A release's scores of new records are the site's own, and a file is whole or absent."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from fedethics.charter.document import load
from fedethics.data.file_terms import DataFile, terms_of
from fedethics.data.reading import raw_rows
from fedethics.data.records import row_hash
from fedethics.errors import DataError, ModelError, ReleaseError
from fedethics.identity import Identity
from fedethics.policy.model import Compute
from fedethics.release.approve import approve
from fedethics.release.withdraw import withdraw
from fedethics.scoring import score
from fedethics.scoring.export import export_release
from fedethics.scoring.new_records import read_new
from fedethics.scoring.score import deciding, score_release, scored
from fedethics.serving.http import application
from fedethics.serving.service import Service
from fedethics.site.workbench import open_workbench
from simulations.datasets import heart
from tests import small_encoder
from tests.cli.conftest import fedethics  # noqa: F401  fixture
from tests.e2e.conftest import encoder, heart_data, lab  # noqa: F401  fixtures
from tests.learning_tasks.tiny_chat import chat_charter, save_chat_model

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def data() -> Path:
    folder = ROOT / ".data" / "heart"
    heart.fetch(folder)
    return folder / "hungary.csv"


@pytest.fixture
def charters(tmp_path):
    """Return charters on the small encoder, by the preset that they come from."""
    with small_encoder.installed(tmp_path) as terms:

        def of(name):
            draft = load(ROOT / "configs" / f"{name}.charter.toml")
            return dataclasses.replace(draft, model=terms, adapter=small_encoder.ADAPTER)

        yield of


def _vector(learner):
    noise = np.random.default_rng(3).normal(0, 0.3, learner.size)
    return (learner.seeded_vector() + noise).astype(np.float32)


@pytest.mark.parametrize("preset", ["heart", "heart-levels"])
def test_scores_are_those_that_the_site_computed_to_the_last_bit(charters, data, preset):
    charter = charters(preset)
    bench = open_workbench(charter, data=data, model_dir=None)
    learner, vector = bench.learner, _vector(bench.learner)
    held_out = bench.records.held_out
    own = dict(
        zip(held_out.row_hashes, learner.scores(vector, bench.activations(held_out)), strict=True)
    )
    lines = list(scored(learner, vector, read_new(data, charter.data), deciding(charter)))
    hashes = {line: row_hash(row) for line, row in raw_rows(data, charter.data)}
    names = charter.data.labels.names
    compared = 0
    for line in lines:
        if hashes[line["line"]] in own and "decision" in line:
            scores = own[hashes[line["line"]]]
            if preset == "heart":
                assert line["score"] == scores
                assert line["decision"] == names[int(scores >= 0.5)]
            else:
                assert [line[f"score_{name}"] for name in names] == scores.tolist()
                assert line["decision"] == names[int(np.argmax(scores))]
            compared += 1
    assert compared == len(held_out) > 20


def test_a_task_that_decides_nothing_is_refused_by_name(tmp_path):
    with pytest.raises(DataError, match="task 'sft' decides nothing of a record"):
        deciding(chat_charter(save_chat_model(tmp_path)))


@pytest.fixture
def released(monkeypatch, charters, data, tmp_path):
    """Let a saved adapter stand for a verified release; return its folder."""
    charter = charters("heart")
    learner = open_workbench(charter, data=data, model_dir=None).learner
    run = tmp_path / "run"
    learner.save_adapter(_vector(learner), run / "adapter")
    import hashlib
    from types import SimpleNamespace

    digest = hashlib.sha256((run / "adapter" / "adapter_model.safetensors").read_bytes())
    opened = SimpleNamespace(
        path=run, charter=charter, evidence=SimpleNamespace(model_hash=digest.hexdigest())
    )
    monkeypatch.setattr(score, "require_released", lambda _run: opened)
    return run


def _into(seen):
    return lambda number, of: seen.append((number, of))


def test_csv_and_json_lines_say_the_same(released, data, tmp_path):
    told = []
    for name in ("scores.csv", "scores.JSONL"):
        out, seen = tmp_path / name, []
        done = score_release(released, data=data, out=out, keep=["age"], advanced=_into(seen))
        assert seen[-1] == (done.records, done.records)
        assert sum(done.decided.values()) + sum(done.left_out.values()) == done.records
        told.append(out.read_text(encoding="utf-8"))
    rows = list(csv.DictReader(told[0].splitlines()))
    lines = [json.loads(line) for line in told[1].splitlines()]
    assert len(rows) == len(lines) == done.records
    for row, line in zip(rows, lines, strict=True):
        assert {name: str(value) for name, value in line.items()} == {
            name: value for name, value in row.items() if value
        }
    assert sorted(tmp_path.glob(".scores*")) == []


def test_an_interruption_leaves_no_part_of_a_file(released, data, tmp_path):
    def interrupt(number, _of):
        if number == 40:
            raise KeyboardInterrupt

    before = sorted(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        score_release(released, data=data, out=tmp_path / "scores.csv", advanced=interrupt)
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_is_read_as_the_site_says(released, data, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text(data.read_text().replace(",", ";"), encoding="utf-16")
    with pytest.raises(DataError):
        score_release(released, data=other, out=tmp_path / "scores.csv")
    file = DataFile(other, terms_of(["delimiter=semicolon", "encoding=utf-16"]))
    score_release(released, data=file, out=tmp_path / "scores.csv")
    score_release(released, data=data, out=tmp_path / "plain.csv")
    assert (tmp_path / "scores.csv").read_bytes() == (tmp_path / "plain.csv").read_bytes()


def test_a_file_that_exists_or_that_nobody_can_write_is_told_before_anything(released, data):
    for out, why in (("scores.csv", "exists already"), ("scores.xlsx", r"\.csv or \.jsonl")):
        path = released / out
        path.touch()
        with pytest.raises(ReleaseError, match=why):
            score_release(released, data=data, out=path)
        assert path.read_bytes() == b""
    with pytest.raises(ReleaseError, match="is no folder"):
        score_release(released, data=data, out=released / "nowhere" / "scores.csv")
    with pytest.raises(ReleaseError, match="the scores have a field of that name"):
        score_release(released, data=data, out=released / "new.csv", keep=["line"])


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+49 30", "-x", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "'quoted", "''", "a=b", "",
     "-0.25", "-1e-3", "12", "-1+cmd|' /C calc'!A0"],
)  # fmt: skip
def test_a_kept_text_is_no_formula_and_can_be_had_back(text):
    file = io.StringIO()
    score._as_csv(file, ["=name", "line"], [{"=name": text, "line": 2}])
    (heads, row) = csv.reader(io.StringIO(file.getvalue(), newline=""))
    assert heads == ["'=name", "line"] and row[1] == "2"
    assert row[0][:1] not in tuple("=+@\t\r\n＝") and (row[0][:1] != "-" or float(row[0]) < 0)
    assert row[0].removeprefix("'") == text


def test_scores_are_not_written_into_a_release(released, data, tmp_path):
    for name in ("manifest.json", "evidence.json"):
        (released / name).touch()
    (tmp_path / "link").symlink_to(released / "adapter")
    for out in (released / "new.csv", released / "adapter" / "new.csv", tmp_path / "link/new.csv"):
        with pytest.raises(ReleaseError, match="would lie in the release"):
            score_release(released, data=data, out=out)
        assert not out.exists()


def test_nothing_is_written_where_the_last_line_is_wrong(released, data, tmp_path):
    text = data.read_text().rstrip("\n")
    last = text.rsplit("\n", 1)[1]
    bad = tmp_path / "bad.csv"
    number, _, others = last.split(",", 2)
    bad.write_text(f"{text}\n{number},430,{others}\n")
    with pytest.raises(DataError, match=f"line {text.count(chr(10)) + 2}, column"):
        score_release(released, data=bad, out=tmp_path / "scores.csv")
    assert not (tmp_path / "scores.csv").exists() and not list(tmp_path.glob(".scores*"))


def test_an_adapter_that_was_exchanged_after_the_check_scores_nothing(released, data, tmp_path):
    learner = open_workbench(
        score.require_released(released).charter, data=data, model_dir=None
    ).learner
    learner.save_adapter(learner.seeded_vector(), released / "adapter")
    with pytest.raises(ModelError, match="changed while it was read"):
        score_release(released, data=data, out=tmp_path / "scores.csv")


def _undemanding(charter):
    """Return the charter with bars that a random encoder does not miss."""
    objectives = tuple(
        dataclasses.replace(one, bar=0.01 if one.direction == "at-least" else 0.99)
        for one in charter.ethics.objectives
    )
    return dataclasses.replace(
        charter, ethics=dataclasses.replace(charter.ethics, objectives=objectives)
    )


@pytest.mark.slow
def test_a_federations_approved_adapter_scores_new_records(lab, data, tmp_path, fedethics):  # noqa: F811
    stage = lab.stage(change=_undemanding)
    run = lab.run(stage)
    asked = ("release", "score", run, "--data", data, "-o", tmp_path / "s.csv")
    assert fedethics(*asked).exit_code == 2
    with pytest.raises(ReleaseError, match="may not be used"):
        score_release(run, data=data, out=tmp_path / "s.csv")
    assert not (tmp_path / "s.csv").exists()
    approve(
        run,
        Identity.load(stage.coordinator / "identity.key"),
        role="coordinator",
        reason="a test",
        despite_uncertainty=True,
    )
    done = score_release(run, data=data, out=tmp_path / "s.csv")
    assert done.records == len(list(csv.DictReader((tmp_path / "s.csv").open())))
    assert set(done.decided) <= {"disease", "no disease"}
    assert fedethics("release", "export", run, "-o", tmp_path / "model").exit_code == 0
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    charter = load(run / "charter.json")
    rows = list(csv.DictReader((tmp_path / "s.csv").open()))
    with torch.no_grad():
        for row, record in zip(rows[:20], read_new(data, charter.data), strict=False):
            if record.content is None:
                continue
            inputs = tokenizer(record.content, truncation=True, return_tensors="pt")
            share = float(model(**inputs).logits.double().softmax(dim=1)[0, 1])
            assert share == pytest.approx(float(row["score"]), abs=1e-5)
    service = Service(run, compute=Compute())
    with TestClient(application(service, token=""), base_url="http://127.0.0.1") as client:
        record = next(csv.DictReader(data.open()))
        told = client.post("/v1/predict", json={"records": [record]}).json()
        assert told["predictions"][0]["score"] == float(rows[0]["score"])
        audited = client.get("/v1/audit").json()
        # The noise of this run decides which verdict; what is served tells the same one.
        gated = json.loads((run / "gate.json").read_text())["verdict"]
        assert audited["report"]["verdict"] == gated
        assert json.loads(audited["signed"]["manifest.json"])
        key = Identity.load(stage.coordinator / "identity.key")
        withdraw(run, key, role="coordinator", reason="it drifted")
        gone = client.post("/v1/predict", json={"records": [record]})
        assert gone.status_code == 410 and "it drifted" in gone.text
    service.close()
    with pytest.raises(ReleaseError, match="it drifted"):
        export_release(run, out=tmp_path / "again")
