"""`fedethics simulate` needs nothing but the installed package: no checkout, no Flower."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fedethics.errors import RunError
from fedethics.simulation.scenario import run_name
from tests.e2e.conftest import heart_data  # noqa: F401  fixture

ROOT = Path(__file__).resolve().parents[2]


def _simulate(folder: Path, *words: object, package: Path = ROOT) -> subprocess.CompletedProcess:
    """Run the command in a folder, with `package` before whatever is installed."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "fedethics.cli.main", "simulate", *map(str, words)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )


def test_a_scenario_that_cannot_be_read_is_one_message_and_its_exit_code(tmp_path):
    done = _simulate(tmp_path, "absent.toml")
    assert done.returncode == RunError.exit_code
    assert f"fedethics: [{RunError.code}]" in done.stderr
    assert "absent.toml" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_wheel_alone_simulates_a_federation_in_an_empty_folder(tmp_path, heart_data):  # noqa: F811
    """In the unpacked wheel, without the checkout on the path; the scenario comes from a user."""
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT)],
        check=True,
    )
    (wheel,) = tmp_path.glob("fedethics-*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "package")
    own = tmp_path / "own"
    own.mkdir()
    for name in ("heart.toml", "heart.charter.toml", "policy.hospital.toml"):
        shutil.copy(ROOT / "configs" / name, own)
    charter = (own / "heart.charter.toml").read_text().replace("rounds = 5", "rounds = 2")
    charter = charter.replace('columns = ["*"]', 'columns = ["cp"]')
    (own / "heart.charter.toml").write_text(charter)
    shutil.copytree(heart_data, own / "data" / "heart")
    done = _simulate(
        own, "heart.toml", "--data", "data", "--run-id", "r", package=tmp_path / "package"
    )
    assert done.returncode == 0, done.stderr
    run = own / "runs" / "r"
    assert (run / "evidence.json").is_file()
    assert (run / "report.html").is_file()
    assert "fedethics release verify" in done.stdout


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "/x", "a\\b"])
def test_a_run_is_made_nowhere_but_in_the_folder_of_runs(name):
    with pytest.raises(RunError, match="no name of one directory"):
        run_name(name, "heart")
    assert run_name("pilot.1", "heart") == "pilot.1"
