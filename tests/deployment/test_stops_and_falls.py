"""What a node does when it is told to stop, and a coordinator whose processes cannot stay up."""

from __future__ import annotations

import sys
import time

import pytest
import tomli_w

from fedethics.deployment import coordinator as module
from fedethics.deployment.coordinator import Coordinator
from fedethics.deployment.processes import Child
from fedethics.deployment.settings import FederationHome
from fedethics.deployment.site_node import SiteNode
from fedethics.errors import RunError
from fedethics.site.home import SiteHome


def _coordinator(tmp_path):
    (tmp_path / "federation.toml").write_text(tomli_w.dumps({"job": {"id": "heart-1"}}))
    return Coordinator(FederationHome.open(tmp_path))


def _run_to_end(child: Child) -> None:
    if not child.alive:
        child.start()
    deadline = time.monotonic() + 60
    while child.alive and time.monotonic() < deadline:
        time.sleep(0.02)


def test_a_node_that_is_told_to_stop_finishes_its_message_and_sends_the_answer_on(tmp_path):
    """Stand-ins that behave as the two processes do; the order of their ends is what is tested."""
    answered = tmp_path / "answered"
    works = (
        "import pathlib, signal, sys, time\n"
        f"answered = pathlib.Path({str(answered)!r})\n"
        "def told(*_):\n    time.sleep(1); answered.touch(); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, told)\n"
        "print('up', flush=True)\ntime.sleep(600)\n"
    )
    sends = (
        "import pathlib, time\n"
        f"answered = pathlib.Path({str(answered)!r})\n"
        "print('Sent successfully', 'Receiving: train.default', flush=True)\n"
        "while not answered.exists(): time.sleep(0.05)\n"
        "time.sleep(1)\nprint('Sent successfully', flush=True)\ntime.sleep(600)\n"
    )
    executor = Child("executor", (sys.executable, "-c", works), tmp_path / "e.log", tmp_path)
    supernode = Child("supernode", (sys.executable, "-c", sends), tmp_path / "s.log", tmp_path)
    for child in (executor, supernode):
        child.start()
        deadline = time.monotonic() + 20
        while not child.output() and time.monotonic() < deadline:
            time.sleep(0.05)
    (tmp_path / "site.toml").write_text('site = "a"\ndata = "d.csv"\n')
    node = SiteNode(SiteHome.open(tmp_path))
    node.folder.mkdir()
    (node.folder / "working").touch()
    node._stop(supernode, executor)
    assert executor.exit_code == 0
    assert supernode.output().count("Sent successfully") == 2
    assert not supernode.alive


def test_a_superlink_that_cannot_stay_up_ends_the_command_and_a_killed_one_does_not(tmp_path):
    coordinator, again = _coordinator(tmp_path), _coordinator(tmp_path)
    words = "the superlink ended 7 times within 120 s .exit code 3."
    falls = Child("superlink", (sys.executable, "-c", "exit(3)"), tmp_path / "log", tmp_path)
    for _ in range(6):
        _run_to_end(falls)
        coordinator._restart(falls)
    _run_to_end(falls)
    with pytest.raises(RunError, match=words):
        coordinator._restart(falls)
    kill = "import os; os.kill(os.getpid(), 9)"
    killed = Child("superlink", (sys.executable, "-c", kill), tmp_path / "log", tmp_path)
    for _ in range(10):
        _run_to_end(killed)
        again._restart(killed)
    killed.stop(grace_s=1)


def test_falls_while_the_disk_is_full_do_not_count_also_not_when_there_is_room_again(
    tmp_path, monkeypatch
):
    coordinator = _coordinator(tmp_path)
    falls = Child("superexec", (sys.executable, "-c", "exit(1)"), tmp_path / "log", tmp_path)
    monkeypatch.setattr(module, "shortage", lambda _: "the disk is full")
    for _ in range(12):
        _run_to_end(falls)
        coordinator._restart(falls)
    monkeypatch.setattr(module, "shortage", lambda _: "")
    for _ in range(6):
        _run_to_end(falls)
        coordinator._restart(falls)
    _run_to_end(falls)
    with pytest.raises(RunError, match="ended 7 times"):
        coordinator._restart(falls)
