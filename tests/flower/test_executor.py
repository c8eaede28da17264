"""The executor's promises, against a queue that behaves as a SuperNode may at its worst."""

from __future__ import annotations

import json
import threading

import httpx
import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict

from fedethics.flower import executor as module
from fedethics.flower.executor import Executor
from fedethics.flower.runtime_api import Job
from fedethics.flower.wire import parse_reply
from fedethics.protocol import PROTOCOL
from fedethics.site.log import SiteLog
from tests.inprocess import enter_task, wire_copy


def _job(run_id: int = 5, *, site_home: str = "/etc") -> Job:
    enter_task(run_id=run_id, node_id=9)
    content = RecordDict(
        {
            "fedethics": ConfigRecord({"protocol": PROTOCOL, "charter-hash": "0" * 64, "run": "r"}),
            "payloads": ArrayRecord({"epoch": Array(np.zeros(1, np.uint8))}),
        }
    )
    message = wire_copy(Message(content, 9, "query.announce"), message_id="m")
    context = Context(
        run_id=run_id,
        node_id=9,
        node_config={"site-home": site_home},
        state=RecordDict(),
        run_config={"epsilon": 99.0},
    )
    return Job(message, context, run_id, "ab" * 32)


class FakeTask:
    """One task; without a job, its message never comes."""

    def __init__(self, job: Job | None, *, push_fails: bool = False) -> None:
        self._job, self._push_fails = job, push_fails
        self.pushed: list[Message] = []
        self.ended: list[str] = []

    def start(self) -> None:
        """Nothing to begin."""

    def job(self, *, timeout_s: float) -> Job | None:
        return self._job

    def push(self, reply: Message, context: Context) -> None:
        if self._push_fails:
            raise httpx.ConnectError("gone")
        self.pushed.append(reply)

    def end(self, *, why: str = "") -> None:
        self.ended.append(why)


class FakeQueue:
    """Hands out its tasks in order, then tells the executor to stop."""

    def __init__(self, stopping: threading.Event, items: list[object]) -> None:
        self._stopping, self._items = stopping, items

    def acquire(self) -> object | None:
        if not self._items:
            self._stopping.set()
            return None
        item = self._items.pop(0)
        if isinstance(item, Exception):
            raise item
        return item


def _run(tmp_path, items: list[object]) -> list[dict[str, object]]:
    stopping = threading.Event()
    log = SiteLog(tmp_path / "log.jsonl")
    queue = FakeQueue(stopping, items)
    Executor(tmp_path, queue, log, stopping).run()  # type: ignore[arg-type]
    if not (tmp_path / "log.jsonl").exists():
        return []
    return [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]


def test_a_task_whose_message_never_comes_gives_way_to_a_newer_one(tmp_path):
    dead, alive = FakeTask(None), FakeTask(_job())
    events = _run(tmp_path, [dead, alive])
    assert dead.ended == ["superseded"]
    assert len(alive.pushed) == 1
    assert "task-superseded" in [entry["event"] for entry in events]


def test_a_supernode_that_is_gone_is_waited_for(tmp_path):
    task = FakeTask(_job())
    _run(tmp_path, [httpx.ConnectError("refused"), httpx.ConnectError("refused"), task])
    assert len(task.pushed) == 1


def test_an_answer_that_cannot_be_delivered_is_logged_by_kind_and_the_next_task_is_taken(tmp_path):
    first, second = FakeTask(_job(), push_fails=True), FakeTask(_job())
    events = _run(tmp_path, [first, second])
    assert first.ended == ["ConnectError"]
    lost = [entry for entry in events if entry["event"] == "task-lost"]
    assert [entry["kind"] for entry in lost] == ["ConnectError"]
    assert len(second.pushed) == 1


def test_the_home_is_the_executors_own_whatever_the_message_says(tmp_path, monkeypatch):
    seen: list[Context] = []

    def answer(message: Message, context: Context) -> Message:
        seen.append(context)
        return Message(RecordDict(), reply_to=message)

    monkeypatch.setattr(module, "answer", answer)
    _run(tmp_path, [FakeTask(_job(site_home="/somewhere/else"))])
    assert seen[0].node_config == {"site-home": str(tmp_path)}
    assert seen[0].run_config == {}


def test_a_site_without_a_home_refuses_and_goes_on(tmp_path):
    task = FakeTask(_job())
    _run(tmp_path, [task])
    reply = parse_reply(task.pushed[0])
    assert reply.refusal is not None
    assert "/" not in reply.refusal.sentence


def test_each_bundle_is_named_once_a_run(tmp_path):
    events = _run(tmp_path, [FakeTask(_job()), FakeTask(_job()), FakeTask(_job(6))])
    named = [entry for entry in events if entry["event"] == "bundle"]
    assert [(entry["flower_run"], entry["executed"]) for entry in named] == [
        ("5", False),
        ("6", False),
    ]


def test_a_mark_stands_while_a_task_is_in_hand_and_not_after(tmp_path, monkeypatch):
    mark, seen = tmp_path / "working", []

    def answer(message: Message, context: Context) -> Message:
        seen.append(mark.exists())
        return Message(RecordDict(), reply_to=message)

    monkeypatch.setattr(module, "answer", answer)
    stopping = threading.Event()
    queue = FakeQueue(stopping, [FakeTask(_job())])
    log = SiteLog(tmp_path / "log.jsonl")
    Executor(tmp_path, queue, log, stopping, working=mark).run()  # type: ignore[arg-type]
    assert seen == [True]
    assert not mark.exists()


@pytest.mark.parametrize("module_name", ["executor", "runtime_api"])
def test_the_executor_has_no_way_to_unpack_or_load_a_bundle(module_name):
    import importlib
    import inspect

    source = inspect.getsource(importlib.import_module(f"fedethics.flower.{module_name}"))
    for word in ("install_from_fab", "zipfile", "importlib", "exec(", "eval(", "load_client_app"):
        assert word not in source
