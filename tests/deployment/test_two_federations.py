"""Two federations on one host: the second finds the port taken, says by whom, and touches nothing.

The second has the very certificates of the first, as where one institution runs both: what keeps
them apart is not that the other's authority is another one.
"""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import pytest
import tomli_w

from fedethics.release import evidence
from tests.deployment.federation import Federation, deploy, stage
from tests.ports import quiet_port

pytestmark = pytest.mark.slow


@pytest.fixture
def two(tmp_path):
    """Two federations of three sites, whose coordinators share certificates and a port."""
    first, second = (
        deploy(stage(tmp_path / name, most=3), wait_s=200.0) for name in ("first", "second")
    )
    shutil.rmtree(second.coordinator / "tls")
    shutil.copytree(first.coordinator / "tls", second.coordinator / "tls")
    _move(second, first.port)
    yield first, second
    for each in (first, second):
        each.end()


def _move(federation: Federation, port: int) -> None:
    """Give a coordinator and its sites another port, and the certificates' authority."""
    federation.port = port
    file = federation.coordinator / "federation.toml"
    settings = tomllib.loads(file.read_text())
    settings["superlink"]["listen"] = f"127.0.0.1:{port}"
    file.write_text(tomli_w.dumps(settings))
    for home in federation.stage.homes.values():
        site = tomllib.loads((home / "site.toml").read_text())
        site["node"] = {"superlink": f"127.0.0.1:{port}"}
        (home / "site.toml").write_text(tomli_w.dumps(site))
        shutil.copy(federation.coordinator / "tls" / "ca.crt", home / "ca.crt")


def _said(federation: Federation) -> str:
    return federation.said(federation.coordinator)


def _has_everybody(federation: Federation) -> bool:
    return "submitted" in _said(federation)


@pytest.mark.timeout(900)
def test_a_second_coordinator_on_the_same_port_is_told_who_holds_it_and_on_another_both_run(two):
    first, second = two
    running = first.coordinate()
    first.until(lambda: "admitted" in _said(first), timeout_s=120, what="the first is up")
    for verb in ("start", "resume"):
        refused = second.coordinate(verb)
        assert refused.wait(timeout=120) == 2
    told = _said(second)
    assert f"127.0.0.1:{first.port} is in use by process {running.pid}" in told
    assert "nothing was started" in told
    assert "online" not in told
    assert not (second.job / "state.json").exists()
    stop = second.command(
        "federation", "stop", "--home", str(second.coordinator), log=_log(second, "stop")
    )
    assert stop.wait(timeout=120) == 2
    assert running.poll() is None

    _move(second, quiet_port())
    other = second.coordinate()
    for each in two:
        each.sites()
    for each in two:
        each.until(lambda each=each: _has_everybody(each), timeout_s=300, what="all are online")
    assert (running.wait(timeout=400), other.wait(timeout=400)) == (0, 0), first.told()
    for each in two:
        said = evidence.load(each.job / "evidence.json")
        everybody = tuple(sorted(each.stage.homes))
        assert {entry.survivors for entry in said.rounds} == {everybody}
        assert "stopped 0" in _said(each)


def _log(federation: Federation, name: str) -> Path:
    return federation.coordinator / f"{name}.out"
