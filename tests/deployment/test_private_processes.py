"""What other accounts of the machine can learn of our processes, tried from their side."""

from __future__ import annotations

import ast
import contextlib
import inspect
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import tomli_w

from fedethics import memory
from fedethics.deployment.certificates import make_certificates
from fedethics.deployment.site_node import SiteNode, private_folder
from fedethics.errors import RunError
from fedethics.flower.runtime_api import FAILURES, SuperNodeQueue
from fedethics.identity import Identity
from fedethics.site.home import SiteHome
from tests.deployment.federation import node_key
from tests.ports import quiet_port

ROOT = Path(__file__).resolve().parents[2]
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux' prctl")
NOBODY = 65534
HOLDS = """
import sys, time
{source}
if sys.argv[1] == "private":
    keep_private()
print("held", flush=True)
time.sleep(120)
"""


@contextlib.contextmanager
def holding(kind: str) -> Iterator[int]:
    """Run a process with a secret in its environment, as nobody where this is root."""
    script = HOLDS.format(source=inspect.getsource(memory).replace("from __future__", "# "))
    who = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", script, kind],
        stdout=subprocess.PIPE,
        env={"SECRET": "geheim"},
        cwd="/",
        **who,  # type: ignore[call-overload]
    ) as process:
        try:
            if process.stdout.readline() != b"held\n":
                pytest.skip("another account cannot run this interpreter")
            yield process.pid
        finally:
            process.kill()


def _look(pid: int) -> str:
    """Read the environment of `pid` as another process of the same account would."""
    script = "import sys; print('geheim' in open(f'/proc/{sys.argv[1]}/environ').read())"
    who = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    command = [sys.executable, "-I", "-S", "-c", script, str(pid)]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", **who)  # type: ignore[call-overload]
    return str(done.stdout).strip() or str(done.stderr).strip().splitlines()[-1]


@LINUX
def test_a_private_process_shows_its_memory_to_no_other_of_its_account():
    with holding("plainly") as pid:
        assert _look(pid) == "True"
    with holding("private") as pid:
        assert "Permission denied" in _look(pid)
        assert _core_limit(pid)[0] == "0"


def _core_limit(pid: int) -> list[str]:
    (line,) = [
        line
        for line in Path(f"/proc/{pid}/limits").read_text().splitlines()
        if line.startswith("Max core file size")
    ]
    return line.removeprefix("Max core file size").split()


def _mains() -> list[Path]:
    found = []
    for path in sorted((ROOT / "fedethics").rglob("*.py")):
        if 'if __name__ == "__main__"' in path.read_text(encoding="utf-8"):
            found.append(path)
    return found


@pytest.mark.parametrize("path", _mains(), ids=lambda path: path.stem)
def test_every_process_of_the_library_begins_by_keeping_its_memory_private(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert "memory.keep_private" in calls


def _home(tmp_path: Path) -> SiteHome:
    home = tmp_path / "site"
    Identity.generate().save(home / "identity.key")
    node_key(home)
    make_certificates(tmp_path / "tls", names=["127.0.0.1"])
    (home / "ca.crt").write_bytes((tmp_path / "tls" / "ca.crt").read_bytes())
    node = {"superlink": f"127.0.0.1:{quiet_port()}"}
    settings = {"site": "a", "data": "none.csv", "node": node}
    (home / "site.toml").write_text(tomli_w.dumps(settings))
    return SiteHome.open(home)


@LINUX
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_sites_two_processes_open_no_port_and_tell_no_secret(tmp_path, monkeypatch):
    """The promises of the node's private channel, on the real processes without a coordinator."""
    home = _home(tmp_path)
    monkeypatch.setenv("FLWR_HOME", str(tmp_path))
    node = SiteNode(home, preload=False)
    with node.running():
        place = node.folder / "runtime.sock"
        deadline = time.monotonic() + 90
        while not (place.exists() and "executor-started" in _log(home)):
            assert time.monotonic() < deadline, (node.folder / "supernode.log").read_text()
            time.sleep(0.1)
        assert (node.folder.stat().st_mode & 0o777, place.stat().st_mode & 0o777) == (0o700, 0o600)
        secret = (node.folder / "superexec.secret").read_bytes()
        monkeypatch.chdir(node.folder)
        assert _patiently(SuperNodeQueue("unix:runtime.sock", secret=secret)) is None
        with pytest.raises(FAILURES, match="401"):
            SuperNodeQueue("unix:runtime.sock", secret=b"w" * 32).acquire()
        for pid in node.pids.values():
            process = psutil.Process(pid)
            ports = [c for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
            assert ports == []
            assert_tells_nothing(process, home.path, secret)


def _log(home: SiteHome) -> str:
    path = home.path / "log.jsonl"
    return path.read_text() if path.exists() else ""


def _patiently(queue: SuperNodeQueue) -> object:
    deadline = time.monotonic() + 60
    while True:
        try:
            return queue.acquire()
        except FAILURES:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def assert_tells_nothing(process: psutil.Process, home: Path, *secrets: bytes) -> None:
    """Check one live process: its command line, its environment and its core limit."""
    told = " ".join(process.cmdline())
    with contextlib.suppress(psutil.AccessDenied):
        told += " ".join(f"{name}={value}" for name, value in process.environ().items())
    keys = [path.read_bytes() for path in home.glob("*.key")]
    for secret in (*secrets, *keys):
        assert secret.hex() not in told
        assert secret.decode("latin-1") not in told
    assert "--token" not in process.cmdline()
    assert not re.search(r"\b[0-9a-f]{64}", " ".join(process.cmdline()))
    assert _core_limit(process.pid)[0] == "0"


def test_a_folder_of_the_node_that_others_may_enter_is_closed_and_a_foreign_one_refused(tmp_path):
    folder = tmp_path / "node"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    private_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    (tmp_path / "other").symlink_to(folder)
    with pytest.raises(RunError, match="not a folder of this account"):
        private_folder(tmp_path / "other")
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
        with pytest.raises(RunError, match=str(NOBODY)):
            private_folder(folder)


def test_a_path_of_any_length_holds_a_site(tmp_path):
    """A Unix socket's own path has at most 107 bytes; a home's may be longer."""
    from fedethics.flower.supernode import listen_on

    deep = tmp_path.joinpath(*["a-long-name-of-a-folder-of-a-hospital"] * 5)
    deep.mkdir(parents=True)
    before = os.getcwd()
    os.chdir(deep)
    try:
        with listen_on(Path("runtime.sock")) as one, listen_on(Path("runtime.sock")) as two:
            two.listen()
            with socket.socket(socket.AF_UNIX) as near:
                near.connect("runtime.sock")
            assert one.fileno() != two.fileno()
    finally:
        os.chdir(before)
