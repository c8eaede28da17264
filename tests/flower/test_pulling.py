"""Whatever goes wrong while a message is pulled, the executor hears of it and goes on."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import httpx
import pytest
from google.protobuf.message import DecodeError

from fedethics.flower import runtime_api
from fedethics.flower.executor import Executor
from fedethics.flower.runtime_api import SuperNodeTask, TaskNotPulled
from fedethics.site.log import SiteLog


@pytest.fixture
def task(monkeypatch):
    monkeypatch.setattr(runtime_api, "push_task_output", lambda **_: None)
    task = SuperNodeTask("127.0.0.1:1", token="t")
    yield task
    task.end()


def _pulling(monkeypatch, outcome):
    def pull(_client):
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr(runtime_api, "pull_task_input", pull)


@pytest.mark.parametrize(
    "error", [DecodeError("half a message"), TypeError("no bytes"), TimeoutError("slow")]
)
def test_a_failure_that_nobody_listed_ends_the_wait_at_once(task, monkeypatch, error):
    _pulling(monkeypatch, error)
    task.start()
    with pytest.raises(TaskNotPulled, match=type(error).__name__) as caught:
        task.job(timeout_s=30)
    assert str(error) not in str(caught.value)
    assert isinstance(caught.value, runtime_api.FAILURES)


@pytest.mark.parametrize("error", [httpx.ConnectError("gone"), ValueError("bad"), KeyError("x")])
def test_a_failure_that_is_listed_keeps_its_kind(task, monkeypatch, error):
    _pulling(monkeypatch, error)
    task.start()
    with pytest.raises(type(error)):
        task.job(timeout_s=30)


def test_a_message_that_came_whole_is_the_job_with_its_bundles_fingerprint(task, monkeypatch):
    run, bundle = SimpleNamespace(run_id=7), SimpleNamespace(content=b"bundle")
    _pulling(monkeypatch, ("message", "context", run, bundle))
    task.start()
    job = task.job(timeout_s=30)
    assert (job.run_id, job.bundle_sha256) == (7, hashlib.sha256(b"bundle").hexdigest())


def test_the_executor_gives_the_task_back_and_takes_the_next(task, monkeypatch, tmp_path):
    _pulling(monkeypatch, DecodeError("half a message"))
    log = SiteLog(tmp_path / "log.jsonl")

    class Queue:
        def __init__(self):
            self.tasks = [task]

        def acquire(self):
            if self.tasks:
                return self.tasks.pop()
            if task._ended.is_set():
                executor.stopping.set()
            return None

    executor = Executor(tmp_path, Queue(), log)  # type: ignore[arg-type]
    executor.run()
    written = (tmp_path / "log.jsonl").read_text()
    assert "task-lost" in written and "TaskNotPulled" in written
    assert "half a message" not in written
