"""Processes are killed without warning in the middle of a round; the job ends, the books hold."""

from __future__ import annotations

import os
import signal

import psutil
import pytest

from tests.deployment.books import check_books, seen
from tests.deployment.federation import Federation

pytestmark = pytest.mark.slow


def _kill(parent: int, word: str) -> int:
    """Kill -9 the one descendant of `parent` whose command line holds `word`; return its id."""
    found = [
        process
        for process in psutil.Process(parent).children(recursive=True)
        if process.status() != psutil.STATUS_ZOMBIE and word in " ".join(process.cmdline())
    ]
    assert len(found) == 1, (word, found)
    os.kill(found[0].pid, signal.SIGKILL)
    return found[0].pid


def _finish(federation: Federation, coordinator, *, resumes: int) -> None:
    """Wait for the run's end; resume it at most `resumes` times; it must end well."""
    code = coordinator.wait(timeout=280)
    for _ in range(resumes):
        if code == 0:
            break
        code = federation.coordinate("resume").wait(timeout=280)
    assert code == 0, federation.told()


def test_a_job_outlives_its_superlink_and_is_resumed_when_its_server_app_is_killed(deployed):
    federation = deployed(rounds=2)
    sites = federation.sites()
    coordinator = federation.coordinate()
    federation.until(
        lambda: seen(federation, "round-started", round=1), timeout_s=150, what="round 1"
    )
    _kill(coordinator.pid, "fedethics.flower.superlink")
    federation.until(
        lambda: seen(federation, "round-started", round=2), timeout_s=150, what="round 2"
    )
    _kill(coordinator.pid, "flwr-serverapp")
    stopped = federation.command(
        *("federation", "stop", "--home", str(federation.coordinator)),
        log=federation.coordinator / "stop.out",
    )
    assert stopped.wait(timeout=90) == 0
    assert coordinator.wait(timeout=10) == 2
    assert "federation resume" in federation.said(federation.coordinator)
    _finish(federation, federation.coordinate("resume"), resumes=0)
    assert all(process.poll() is None for process in sites.values()), federation.told()
    check_books(federation)


def test_a_site_that_is_killed_while_it_trains_comes_back_and_the_job_ends(deployed):
    federation = deployed(rounds=1)
    sites = federation.sites()
    coordinator = federation.coordinate()
    name = "hungary"
    federation.until(
        lambda: any(e["event"] == "self-test passed" for e in federation.log_of(name)),
        timeout_s=150,
        what="training at the site",
    )
    killed = {
        _kill(sites[name].pid, f"fedethics.flower.{each}") for each in ("executor", "supernode")
    }
    _finish(federation, coordinator, resumes=2)
    assert sites[name].poll() is None, federation.said(federation.stage.homes[name])
    children = {process.pid for process in psutil.Process(sites[name].pid).children()}
    assert len(children) == 2
    assert not children & killed
    check_books(federation)
