"""The same apps under Flower's own simulation runtime open the same sums as the loopback grid."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from fedethics.release import evidence

ROOT = Path(__file__).resolve().parents[2]


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture
def flower(tmp_path):
    """Return an environment with a Flower home of its own; stop what it started afterwards."""
    port = _free_port()
    yield os.environ | {
        "FLWR_HOME": str(tmp_path / "flwr"),
        "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": port,
        "FLWR_LOCAL_CONTROL_API_PORT": _free_port(),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any("flower-superlink" in word for word in words) and port in " ".join(words):
            process.kill()  # `flwr run` leaves it running


def _app(folder: Path) -> Path:
    """Copy what makes the bundle, so that Flower does not walk a whole checkout."""
    folder.mkdir()
    for name in ("server", "clients"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.mark.slow
def test_flwr_run_opens_the_same_sums_as_the_loopback_grid(lab, flower, tmp_path):
    ours = lab.run(lab.stage(folder="a", noise_seed="7"))
    stage = lab.stage(folder="b", noise_seed="7")
    settings = {
        "coordinator-home": stage.coordinator,
        "job-dir": stage.run_dir,
        "job-id": stage.run_dir.name,
    }
    done = subprocess.run(
        [
            "flwr", "run", str(_app(tmp_path / "app")), "--stream",
            "--run-config", " ".join(f'{key}="{value}"' for key, value in settings.items()),
            "--federation-config", "num-supernodes=4 client-resources-num-cpus=1",
        ],
        env=flower | {"FEDETHICS_SITES": str(stage.run_dir / "sites")},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    theirs = stage.run_dir
    assert (theirs / "evidence.json").exists(), done.stdout[-3000:]
    first, second = evidence.load(ours / "evidence.json"), evidence.load(theirs / "evidence.json")
    assert [entry.sum_sha256 for entry in first.rounds] == [
        entry.sum_sha256 for entry in second.rounds
    ]
    adapter = "withheld/adapter/adapter_model.safetensors"
    assert (ours / adapter).read_bytes() == (theirs / adapter).read_bytes()
