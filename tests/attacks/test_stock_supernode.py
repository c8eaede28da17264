"""Why records stay away from a stock Flower node: a lying SuperLink has its own code run there.

Flower's own SuperLink and SuperNode, as shipped, each a process. The coordinator submits the agreed
app. The SuperLink serves another bundle: under the agreed hash, which a node refuses, and under its
own, which a node believes, since it knows the agreed one from the SuperLink alone. What our own
node does with a bundle (nothing) is held in `tests/deployment/test_hostile_coordinator.py`.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from flwr.cli.build import build_fab_from_disk

from fedethics.flower.control_api import FAILURES, Control
from tests.ports import quiet_port

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

PROJECT = """\
[project]
name = "agreed"
version = "1.0.0"
description = "agreed"
license = "Apache-2.0"
dependencies = []
[tool.hatch.build.targets.wheel]
packages = ["."]
[tool.flwr.app]
publisher = "us"
[tool.flwr.app.components]
serverapp = "app:server"
clientapp = "app:client"
"""
APP = """\
import time
from pathlib import Path
from flwr.app import Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

client, server = ClientApp(), ServerApp()

@client.query()
def answer(message, context):
    Path({trace!r}).write_text("here")
    return Message(RecordDict(), reply_to=message)

@server.main()
def main(grid, context):
    while not (nodes := list(grid.get_node_ids())):
        time.sleep(0.2)
    grid.send_and_receive(
        [Message(RecordDict(), dst_node_id=nodes[0], message_type="query")], timeout=60
    )
"""
# The SuperLink as shipped, but for what it tells a node: the bundle, and the hash it should have.
LIAR = """\
import hashlib, sys
from pathlib import Path
from flwr.superlink.cli import flower_superlink
from flwr.superlink.servicer.fleet import fleet_handlers as fleet

if __name__ == "__main__":
    told, content = sys.argv.pop(1), Path(sys.argv.pop(1)).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    honest_fab, honest_run, agreed = fleet.get_fab, fleet.get_run, []

    def get_fab(request, state):
        claimed = request.hash_str
        request.hash_str = agreed[0]
        answer = honest_fab(request=request, state=state)
        answer.fab.content, answer.fab.hash_str = content, claimed
        return answer

    def get_run(request, state):
        answer = honest_run(request=request, state=state)
        agreed.append(answer.run.fab_hash)
        if told == "its own hash":
            answer.run.fab_hash = digest
        return answer

    fleet.get_fab, fleet.get_run = get_fab, get_run
    sys.exit(flower_superlink())
"""


def app(folder: Path, trace: Path) -> Path:
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "app.py").write_text(APP.format(trace=str(trace)))
    return folder


def until(found, *, seconds=90.0):
    end = time.monotonic() + seconds
    while not found():
        if time.monotonic() > end:
            raise TimeoutError("nothing happened")
        time.sleep(0.3)


@pytest.mark.parametrize(
    ("told", "ran"), [("the agreed hash", []), ("its own hash", ["their-code-ran"])]
)
def test_a_stock_node_holds_a_bundle_to_the_hash_that_the_superlink_tells_it(tmp_path, told, ran):
    agreed = app(tmp_path / "agreed", tmp_path / "agreed-code-ran")
    other = tmp_path / "other.fab"
    other.write_bytes(build_fab_from_disk(app(tmp_path / "theirs", tmp_path / "their-code-ran")))
    (tmp_path / "liar.py").write_text(LIAR)
    port, node_port = quiet_port(), quiet_port()
    flower = Path(sys.executable).parent
    environment = os.environ | {
        "FLWR_HOME": str(tmp_path / "flower"), "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "PATH": f"{flower}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    link = [sys.executable, tmp_path / "liar.py", told, other, "--insecure", "--port", str(port)]
    node = [
        flower / "flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{port}",
        "--port", str(node_port),
    ]  # fmt: skip
    logs = [(tmp_path / name).open("wb") for name in ("link.log", "node.log")]
    processes = [
        subprocess.Popen(
            [*map(str, command)], env=environment, cwd=tmp_path, stdout=log, stderr=log,
            start_new_session=True,
        )
        for command, log in zip((link, node), logs, strict=True)
    ]  # fmt: skip
    try:
        control = Control(f"127.0.0.1:{port}")

        def submitted():
            try:
                _, submitted.digest = control.start(agreed, {})
            except FAILURES:
                return False
            return True

        until(submitted)
        assert submitted.digest != hashlib.sha256(other.read_bytes()).hexdigest()
        refused = b"FAB hash mismatch"
        until(
            lambda: (
                any(tmp_path.glob("*-code-ran")) or refused in (tmp_path / "node.log").read_bytes()
            )
        )
    finally:
        for process in processes:
            os.killpg(process.pid, 9)
            process.wait()
        for log in logs:
            log.close()
    assert [path.name for path in tmp_path.glob("*-code-ran")] == ran
