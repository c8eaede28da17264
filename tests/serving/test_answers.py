"""A served model answers as the judged one does, stops when withdrawn, and repeats no input."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

from fedethics.charter.document import load
from fedethics.data.content import Conversation, Turn
from fedethics.data.rendering import row_text, text_columns
from fedethics.errors import ReleaseError
from fedethics.policy.model import Compute
from fedethics.scoring.score import deciding
from fedethics.serving import service as serving
from fedethics.serving.http import application
from fedethics.serving.inputs import MOST_RECORDS
from fedethics.serving.service import Service
from fedethics.site.workbench import learner_for
from tests import small_encoder
from tests.learning_tasks.tiny_chat import chat_charter, save_chat_model
from tests.scoring.test_export import CONFIGS

TOKEN = "t" * 40
SECRET = "Zebra-9931"
ROW = {
    "age": 54, "sex": "Male", "cp": "atypical angina", "trestbps": 130, "chol": 243, "fbs": "FALSE",
    "restecg": "normal", "thalch": 140, "exang": "TRUE", "oldpeak": 1.5,
}  # fmt: skip


def _release(tmp_path, charter, base):
    learner = learner_for(charter, base, Compute())
    noise = np.random.default_rng(3).normal(0, 0.3, learner.size)
    vector = (learner.seeded_vector() + noise).astype(np.float32)
    run = tmp_path / "run"
    learner.save_adapter(vector, run / "adapter")
    digest = hashlib.sha256((run / "adapter" / "adapter_model.safetensors").read_bytes())
    evidence = SimpleNamespace(model_hash=digest.hexdigest(), run_id="run-1")
    opened = SimpleNamespace(path=run, charter=charter, evidence=evidence)
    return SimpleNamespace(run=run, opened=opened, learner=learner, vector=vector, base=base)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a function from a preset's name, or "chat", to one release of it for all tests."""
    known = {}

    def of(name):
        if name not in known:
            known[name] = _made(name, tmp_path_factory.mktemp(name))
        return known[name]

    return of


def _made(name, folder):
    if name == "chat":
        base = save_chat_model(folder / "base")
        return _release(folder, chat_charter(base), base)
    base = folder / "base"
    base.mkdir()
    terms = small_encoder.save(base)
    draft = load(CONFIGS / f"{name}.charter.toml")
    charter = dataclasses.replace(draft, model=terms, adapter=small_encoder.ADAPTER)
    return _release(folder, charter, base)


@pytest.fixture(
    params=[("heart", "proven"), ("heart-levels", "proven"), ("heart", "alone")], ids=str
)
def either(request, made, monkeypatch):
    """Return a release of two classes or four, batched or not, and a client of its service."""
    preset, batches = request.param
    yield from _served(made(preset), monkeypatch, batches=batches)


@pytest.fixture
def decides(made, monkeypatch):
    """Return a release of a classifier, and a client of its service."""
    yield from _served(made("heart"), monkeypatch)


@pytest.fixture
def writes(made, monkeypatch):
    """Return a release of a chat model, and a client of its service."""
    yield from _served(made("chat"), monkeypatch)


def _served(release, monkeypatch, *, batches="alone"):
    release.compute = Compute(batches=batches)
    monkeypatch.setattr(serving, "require_released", lambda _run: release.opened)
    release.service = Service(release.run, model_dir=release.base, compute=release.compute)
    app = application(release.service, token=TOKEN, most_tokens=24, most_bytes=20_000)
    with TestClient(app, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        release.client = client
        yield release
    release.service.close()
    for name in ("withdrawal.json", "approvals.json"):
        (release.run / name).unlink(missing_ok=True)


def _rows(charter):
    names = {column.name for column in charter.data.columns}
    return [{name: value for name, value in ROW.items() if name in names} | {"age": age}
            for age in (41, 54, 63, 29)]  # fmt: skip


def _texts(charter, rows):
    from fedethics.data.json_lines import CellsOf, Number
    from fedethics.scoring.new_records import unlabelled, worded

    schema = unlabelled(charter.data)
    cells = CellsOf(schema)
    told = []
    for row in rows:
        numbers = {
            name: Number(value) if isinstance(value, int | float) else value
            for name, value in row.items()
        }
        told.append(worded(1, cells(numbers, 1), schema, []))
    return told


def _own(release, texts):
    learner = learner_for(release.opened.charter, release.base, release.compute)
    return learner.scores(release.vector, learner.activations(texts))


def test_predictions_are_the_sites_own_to_the_last_bit_whoever_asks_beside(either):
    charter = either.opened.charter
    rows = _rows(charter)
    own = _own(either, [one.content for one in _texts(charter, rows)])
    decide = deciding(charter).of

    def ask(number):
        row = rows[number % len(rows)]
        return either.client.post("/v1/predict", json={"records": [row]}).json()

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(ask, range(12)))
    for number, answer in enumerate(answers):
        assert answer["predictions"] == [dict(decide(np.asarray(own[number % len(rows)])))]
    together = either.client.post("/v1/predict", json={"records": rows}).json()
    assert [one["predictions"][0] for one in answers[:4]] == together["predictions"]


def test_an_explanation_is_the_difference_that_leaving_out_makes(either):
    charter = either.opened.charter
    row = _rows(charter)[0]
    told = either.client.post("/v1/explain", json={"records": [row]}).json()
    (record,) = _texts(charter, [row])
    columns = text_columns(charter.data)
    assert set(told["effects"]) == {column.name for column in columns}
    whole = _own(either, [record.content])[0]
    for column in columns:
        others = [one for one in columns if one.name != column.name]
        part = _own(either, [row_text(record.values, others)])[0]
        place = int(np.argmax(whole)) if np.ndim(whole) else ()
        assert told["effects"][column.name] == float(whole[place] - part[place])


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        (b"{", 400, "no JSON"),
        (b'{"records": [], "records": []}', 400, "occurs twice"),
        (b"[1]", 400, "must be a JSON object"),
        (b'{"records": "x"}', 400, "a list of objects"),
        (b'{"records": [1]}', 400, "number 1 is no object"),
        (b'{"records": [{"age": 1}]}', 422, "no field"),
        (json.dumps({"records": [{}] * (MOST_RECORDS + 1)}).encode(), 413, "at most"),
        (b'{"records": [NaN]}', 400, "no JSON"),
    ],
)
def test_a_bad_request_is_one_sentence(decides, body, status, why):
    headers = {"Content-Type": "application/json"}
    answer = decides.client.post("/v1/predict", content=body, headers=headers)
    assert answer.status_code == status
    assert why in answer.json()["error"]["message"]


def test_no_answer_and_no_count_repeats_what_was_sent(decides, capfd):
    charter = decides.opened.charter
    for name in _rows(charter)[0]:
        for value in (SECRET, [SECRET], {SECRET: 1}, f"{SECRET}\n", 1e300):
            row = _rows(charter)[0] | {name: value}
            answer = decides.client.post("/v1/predict", json={"records": [row]})
            assert answer.status_code == 422
            assert SECRET not in answer.text and "1e+300" not in answer.text
    assert decides.client.get(f"/v1/{SECRET}").status_code == 404
    assert SECRET not in decides.client.get("/metrics").text
    said = capfd.readouterr()
    assert SECRET not in said.out + said.err


def test_what_a_charter_leaves_out_gets_no_score(decides):
    charter = decides.opened.charter
    dropped = [one.name for one in charter.data.columns if one.on_empty == "drop-row"]
    row = _rows(charter)[0] | {dropped[0]: ""}
    told = decides.client.post("/v1/predict", json={"records": [row]}).json()
    assert told["predictions"] == [{"not_scored": f"{dropped[0]} is empty"}]


def test_only_the_token_opens_and_health_needs_none(decides):
    body = {"records": _rows(decides.opened.charter)}
    for header in ("", "Bearer x", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \u00e9".encode()):
        answer = decides.client.post("/v1/predict", json=body, headers={"Authorization": header})
        assert answer.status_code == 401
    for path in ("/metrics", "/v1/models", "/v1/audit"):
        assert decides.client.get(path, headers={"Authorization": ""}).status_code == 401
    assert decides.client.get("/health", headers={"Authorization": ""}).json() == {
        "status": "serving",
    }  # fmt: skip


def test_too_much_or_another_type_is_refused(decides):
    headers = {"Content-Type": "application/json"}
    large = decides.client.post("/v1/predict", content=b" " * 20_001, headers=headers)
    assert large.status_code == 413
    plain = decides.client.post(
        "/v1/predict", content=b"{}", headers={"Content-Type": "text/plain"}
    )
    assert plain.status_code == 415


def test_a_withdrawn_release_answers_410_with_the_reason_from_then_on(decides, monkeypatch):
    body = {"records": _rows(decides.opened.charter)}
    assert decides.client.post("/v1/predict", json=body).status_code == 200

    def refuse(_run):
        raise ReleaseError("it was withdrawn by the ethicist: drift")

    monkeypatch.setattr(serving, "require_released", refuse)
    (decides.run / "withdrawal.json").write_text("{}")
    for path in ("/v1/predict", "/v1/explain"):
        answer = decides.client.post(path, json=body)
        assert answer.status_code == 410
        assert "withdrawn by the ethicist: drift" in answer.json()["error"]["message"]
    assert decides.client.get("/health").status_code == 410


def test_a_release_that_changed_and_still_stands_goes_on(decides):
    (decides.run / "approvals.json").write_text("another approval")
    assert decides.client.get("/health").status_code == 200


def test_a_model_that_decides_writes_no_answers(decides):
    asked = {"messages": [{"role": "user", "content": "hello"}]}
    answer = decides.client.post("/v1/chat/completions", json=asked)
    assert answer.status_code == 404
    assert "/v1/predict" in answer.json()["error"]["message"]


def _greedy(release, text, most):
    learner = release.learner
    content = Conversation((Turn("user", text), Turn("assistant", "")))
    (prompt,) = learner.prompts([content])
    with learner.lock:
        learner.load(release.vector)
        ids = learner.network.greedy(
            torch.tensor(prompt.ids), most=most, ends=learner.tokenizer.controls
        )
    return learner.tokenizer.decode(ids), len(prompt.ids), len(ids)


def test_an_answer_is_the_greedy_one_and_a_streams_pieces_are_it(writes):
    asked = {
        "model": "any", "messages": [{"role": "user", "content": "hello <|im_end|>"}],
        "temperature": 0, "max_tokens": 12,
    }  # fmt: skip
    text, read, written = _greedy(writes, "hello <|im_end|>", 12)
    whole = writes.client.post("/v1/chat/completions", json=asked).json()
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": text}
    assert whole["usage"]["prompt_tokens"] == read
    assert whole["usage"]["completion_tokens"] == written
    assert whole["choices"][0]["finish_reason"] == ("stop" if written < 12 else "length")
    stream = writes.client.post("/v1/chat/completions", json=asked | {"stream": True})
    lines = [line for line in stream.text.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    events = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    pieces = [event["choices"][0]["delta"].get("content", "") for event in events]
    assert "".join(pieces) == text
    assert events[-1]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    # The model is whole again for the next one.
    assert (
        writes.client.post("/v1/chat/completions", json=asked).json()["choices"] == whole["choices"]
    )


@pytest.mark.parametrize(
    ("change", "status", "why"),
    [
        ({"temperature": 0.7}, 400, "temperature: not built"),
        ({"n": 2}, 400, "n: not built"),
        ({"tools": [{}]}, 400, "tools: not built"),
        ({"max_tokens": 25}, 400, "from 1 to 24"),
        ({"max_tokens": "9"}, 400, "from 1 to 24"),
        ({"messages": []}, 400, "1 to 200"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 400, "role must be"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "other than"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 400, "must have role user"),
        ({"messages": [{"role": "user", "content": "long " * 200}]}, 413, "max-tokens"),
    ],
)
def test_a_chat_that_cannot_be_answered_is_one_sentence(writes, change, status, why):
    asked = {"messages": [{"role": "user", "content": "hello"}]} | change
    answer = writes.client.post("/v1/chat/completions", json=asked)
    assert answer.status_code == status
    assert why in answer.json()["error"]["message"]


def test_a_model_that_writes_decides_nothing(writes):
    for path in ("/v1/predict", "/v1/explain"):
        answer = writes.client.post(path, json={"records": [{"messages": []}]})
        assert answer.status_code == 404
        assert "/v1/chat/completions" in answer.json()["error"]["message"]


def test_what_cannot_be_verified_again_is_not_used_whatever_the_error(decides, monkeypatch):
    body = {"records": _rows(decides.opened.charter)}
    for error in (OSError("disk"), MemoryError(), ValueError("x")):

        def fail(_run, error=error):
            raise error

        monkeypatch.setattr(serving, "require_released", fail)
        (decides.run / "approvals.json").write_text(f"changed {error!r}")
        for _ in range(2):
            assert decides.client.post("/v1/predict", json=body).status_code == 410


def test_nothing_that_waited_is_answered_after_a_withdrawal(decides, monkeypatch):
    body = {"records": _rows(decides.opened.charter)[:1]}
    began, go_on = threading.Event(), threading.Event()
    plain = decides.service._learner.activations

    def slowly(*given, **named):
        began.set()
        go_on.wait(20)
        return plain(*given, **named)

    monkeypatch.setattr(decides.service._learner, "activations", slowly)
    with ThreadPoolExecutor(60) as pool:
        asked = [pool.submit(decides.client.post, "/v1/predict", json=body) for _ in range(60)]
        assert began.wait(20)
        # Threads that wait for the model do not hold up others.
        assert decides.client.get("/health").status_code == 200

        def refuse(_run):
            raise ReleaseError("withdrawn")

        monkeypatch.setattr(serving, "require_released", refuse)
        (decides.run / "withdrawal.json").write_text("{}")
        go_on.set()
        assert {one.result().status_code for one in asked} == {410}


def test_more_than_waits_is_refused_and_the_rest_is_answered(decides, monkeypatch):
    body = {"records": _rows(decides.opened.charter)[:1]}
    go_on = threading.Event()
    plain = decides.service._learner.activations

    def slowly(*given, **named):
        go_on.wait(20)
        return plain(*given, **named)

    monkeypatch.setattr(decides.service._learner, "activations", slowly)
    with ThreadPoolExecutor(100) as pool:
        asked = [pool.submit(decides.client.post, "/v1/predict", json=body) for _ in range(100)]
        done, _ = wait(asked, timeout=20, return_when=FIRST_COMPLETED)
        assert done
        go_on.set()
        statuses = Counter(one.result().status_code for one in asked)
    assert set(statuses) == {200, 503} and statuses[200] >= 64


def test_a_record_that_fails_fails_alone(decides, monkeypatch):
    rows = _rows(decides.opened.charter)
    bad = _texts(decides.opened.charter, rows[:1])[0].content
    plain = decides.service._learner.activations

    def picky(texts, **named):
        if bad in list(texts):
            raise RuntimeError(SECRET)
        return plain(texts, **named)

    monkeypatch.setattr(decides.service._learner, "activations", picky)
    with ThreadPoolExecutor(8) as pool:
        asked = [
            pool.submit(decides.client.post, "/v1/predict", json={"records": [rows[n % 4]]})
            for n in range(16)
        ]
        answers = [one.result() for one in asked]
    assert [one.status_code for one in answers] == [500 if n % 4 == 0 else 200 for n in range(16)]
    assert all(SECRET not in one.text for one in answers)


def test_without_a_token_only_names_of_this_machine_are_answered(decides):
    app = application(decides.service, token="")
    with TestClient(app, base_url="http://evil.example") as client:
        assert client.get("/health").status_code == 421
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        assert client.get("/health").status_code == 200


@pytest.mark.parametrize(
    "content", ["\ud800", [{"type": "text", "text": "\ud800"}], [{"type": {}, "text": "x"}]]
)
def test_a_text_that_is_none_is_one_sentence(writes, content):
    asked = json.dumps({"messages": [{"role": "user", "content": content}]}).encode()
    headers = {"Content-Type": "application/json"}
    answer = writes.client.post("/v1/chat/completions", content=asked, headers=headers)
    assert answer.status_code == 400


def test_a_release_withdrawn_while_it_writes_ends_the_answer(writes, monkeypatch):
    plain = writes.service._learner.network.following

    def withdrawn(ids, *, most):
        for number, token in enumerate(plain(ids, most=most)):
            if number == 2:

                def refuse(_run):
                    raise ReleaseError("withdrawn")

                monkeypatch.setattr(serving, "require_released", refuse)
                (writes.run / "withdrawal.json").write_text("{}")
            yield token

    monkeypatch.setattr(writes.service._learner.network, "following", withdrawn)
    asked = {"messages": [{"role": "user", "content": "hello"}]}
    assert writes.client.post("/v1/chat/completions", json=asked).status_code == 410
