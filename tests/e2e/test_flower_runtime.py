"""The same apps under Flower's own simulation runtime open the same sums as the loopback grid."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from fedethics.release import evidence
from tests.ports import quiet_port

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def _flower(folder: Path, **environment: str) -> Iterator[dict[str, str]]:
    """Run a SuperLink with a Flower home of its own; yield the environment that finds it.

    `flwr run` would start one by itself, but gives it 15 seconds, which a busy machine may need.
    """
    home, port = folder / "flwr", quiet_port()
    home.mkdir()
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "ours"\n[superlink.ours]\n'
        f'address = "127.0.0.1:{port}"\ninsecure = true\n'
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"FLWR_HOME": str(home), "PATH": path} | environment
    command = ["flower-superlink", "--insecure", "--simulation", "--isolation", "subprocess"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--database", str(home / "state.db")]
    with (folder / "superlink.log").open("wb") as log:
        link = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            _wait_until_up(link, f"http://127.0.0.1:{port}/health")
            yield environment
        finally:
            link.terminate()
            link.wait(timeout=120)


def _wait_until_up(link: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + 180.0
    while time.monotonic() < deadline and link.poll() is None:
        with suppress(httpx.HTTPError):
            if httpx.get(url, timeout=10.0).is_success:
                return
        time.sleep(0.2)
    raise TimeoutError(f"no answer from {url}; the SuperLink's exit code: {link.poll()}")


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
@pytest.mark.timeout(1500)
def test_flwr_run_opens_the_same_sums_as_the_loopback_grid(lab, tmp_path):
    ours = lab.run(lab.stage(folder="a", noise_seed="7", embedded=True))
    stage = lab.stage(folder="b", noise_seed="7", embedded=True)
    settings = {
        "coordinator-home": stage.coordinator,
        "job-dir": stage.run_dir,
        "job-id": stage.run_dir.name,
    }
    command = [
        "flwr", "run", str(_app(tmp_path / "app")), "--stream",
        "--run-config", " ".join(f'{key}="{value}"' for key, value in settings.items()),
        "--federation-config", "num-supernodes=4 client-resources-num-cpus=1",
    ]  # fmt: skip
    with _flower(tmp_path, FEDETHICS_SITES=str(stage.run_dir / "sites")) as environment:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=900
        )
    assert done.returncode == 0, done.stderr
    theirs = stage.run_dir
    assert (theirs / "evidence.json").exists(), done.stdout[-3000:]
    first, second = evidence.load(ours / "evidence.json"), evidence.load(theirs / "evidence.json")
    assert [entry.sum_sha256 for entry in first.rounds] == [
        entry.sum_sha256 for entry in second.rounds
    ]
    adapter = "withheld/adapter/adapter_model.safetensors"
    assert (ours / adapter).read_bytes() == (theirs / adapter).read_bytes()
