"""Four sites and a coordinator over TLS, as processes, under a bundle whose client code is hostile.

One federation is run for all claims of this file: it is the expensive part. Where the machine
allows it, each member is in a network namespace of its own, with a cable to the coordinator only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import psutil
import pytest
import tomli_w

from fedethics.release import evidence
from tests.deployment.federation import Federation, deploy, stage
from tests.deployment.namespaces import apart, why_not
from tests.loopback import run_federation

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow

HOSTILE = """\
import pathlib
pathlib.Path({canary!r}).write_text("ran")
from flwr.clientapp import ClientApp
app = ClientApp()
@app.train()
@app.evaluate()
def leak(message, context):
    pathlib.Path({canary!r}).write_text("ran")
    return message
"""


@dataclasses.dataclass(frozen=True)
class Done:
    """A federation that has ended."""

    federation: Federation
    canary: Path
    app: Path
    exit_code: int
    site_exit_codes: dict[str, int]
    left_over: list[str]
    heard: dict[str, set[int]]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    made = stage(folder / "b", most=3)
    canary, app = folder / "canary", folder / "app"
    _hostile_app(app, canary)
    with contextlib.ExitStack() as stack:
        network = None if why_not() else stack.enter_context(apart(sorted(made.homes)))
        federation = deploy(made, network=network)
        stack.callback(federation.end)
        _name_app(federation, app)
        sites = federation.sites()
        coordinator = federation.coordinate()
        federation.until(
            lambda: any(event["event"] == "round-started" for event in federation.events()),
            timeout_s=200,
            what="a round",
        )
        heard = {site: network.heard_from_outside(site) for site in sites} if network else {}
        assert len(_processes_of(folder)) > len(sites)  # or it would not see what is left over
        exit_code = coordinator.wait(timeout=280)
        for process in sites.values():
            process.terminate()
        codes = {name: process.wait(timeout=100) for name, process in sites.items()}
        yield Done(federation, canary, app, exit_code, codes, _processes_of(folder), heard)


def _hostile_app(app: Path, canary: Path) -> None:
    shutil.copytree(ROOT / "server", app / "server", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, app / name)
    (app / "clients").mkdir()
    (app / "clients" / "__init__.py").write_text(HOSTILE.format(canary=str(canary)))
    (app / "clients" / "app.py").write_text(HOSTILE.format(canary=str(canary)))


def _name_app(federation: Federation, app: Path) -> None:
    file = federation.coordinator / "federation.toml"
    settings = tomllib.loads(file.read_text())
    settings["job"]["app"] = str(app)
    file.write_text(tomli_w.dumps(settings))


def _processes_of(folder: Path) -> list[str]:
    """Return the command lines that name `folder`, but for ours and those that started us."""
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    lines = [
        " ".join(process.info["cmdline"] or [])
        for process in psutil.process_iter(["cmdline"])
        if process.pid not in ours
    ]
    return [line for line in lines if str(folder) in line]


def test_the_job_ends_well_and_its_sums_are_the_simulations_bit_for_bit(done, tmp_path):
    assert done.exit_code == 0, done.federation.told()
    ours = run_federation(stage(tmp_path / "a", most=3))
    theirs = done.federation.job
    first, second = evidence.load(ours / "evidence.json"), evidence.load(theirs / "evidence.json")
    assert [(e.round, e.kind, e.sum_sha256) for e in first.rounds] == [
        (e.round, e.kind, e.sum_sha256) for e in second.rounds
    ]
    assert _adapters(ours) == _adapters(theirs)


def _adapters(run: Path) -> dict[str, str]:
    """Return the SHA-256 of every adapter that the run committed, by file name."""
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in run.rglob("adapter*.f32")
    }
    assert found
    return found


def test_the_canary_sings_when_the_hostile_code_is_imported(done, tmp_path):
    other = tmp_path / "canary"
    _hostile_app(tmp_path / "app", other)
    subprocess.run([sys.executable, "-c", "import clients.app"], cwd=tmp_path / "app", check=True)
    assert other.exists()


def test_nothing_of_the_bundle_ran_at_any_site(done):
    assert not done.canary.exists()
    for home in done.federation.stage.homes.values():
        unpacked = [path for path in (home / "node").rglob("*") if path.name == "clients"]
        assert unpacked == []


def test_each_sites_log_names_the_bundle_that_the_run_declared(done):
    submitted = [
        line for line in done.federation.said(done.federation.coordinator).splitlines()
        if line.startswith("submitted")
    ]  # fmt: skip
    for site in done.federation.stage.homes:
        (entry,) = [e for e in done.federation.log_of(site) if e["event"] == "bundle"]
        assert entry["executed"] is False
        assert str(entry["sha256"]) in submitted[0]


def test_the_sites_end_when_told_and_leave_no_process_behind(done):
    assert set(done.site_exit_codes.values()) == {0}, done.federation.told()
    assert done.left_over == []


def test_a_site_listens_to_nobody_and_needs_a_way_to_the_coordinator_only(done):
    network = done.federation.network
    if network is None:
        pytest.skip(f"network namespaces: {why_not()}")
    assert done.heard == {site: set() for site in done.federation.stage.homes}
    one, *others = network.address_of
    for there in (*(network.address_of[site] for site in others), "192.0.2.1"):
        code = f"import socket; socket.create_connection(({there!r}, 9), timeout=5)"
        tried = subprocess.run(
            [*network.enter(one), sys.executable, "-c", code], capture_output=True, check=False
        )
        assert b"Network is unreachable" in tried.stderr


def test_a_port_that_is_open_to_a_sites_network_would_have_been_seen():
    if why_not():
        pytest.skip(f"network namespaces: {why_not()}")
    code = (
        "import socket, time; s = socket.create_server(('', 4711)); "
        "print(1, flush=True); time.sleep(60)"
    )
    with apart(["one"]) as network:
        listener = subprocess.Popen(
            [*network.enter("one"), sys.executable, "-c", code], stdout=subprocess.PIPE
        )
        try:
            assert listener.stdout is not None
            listener.stdout.readline()
            assert network.heard_from_outside("one") == {4711}
        finally:
            listener.kill()
            listener.wait()


def test_what_a_node_keeps_is_for_its_owner_only(done):
    for home in done.federation.stage.homes.values():
        assert (home / "node").stat().st_mode & 0o077 == 0
        for name in ("executor.log", "supernode.log"):
            assert (home / "node" / name).stat().st_mode & 0o077 == 0
        assert not (home / "node" / "superexec.secret").exists()
