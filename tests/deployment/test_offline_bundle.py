"""An offline bundle that was tampered with on its way is refused, file by file."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tools" / "offline_bundle.py"
_spec = importlib.util.spec_from_file_location("offline_bundle", SCRIPT)
assert _spec is not None and _spec.loader is not None
offline_bundle = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(offline_bundle)


@pytest.fixture
def parts(tmp_path):
    wheels, model = tmp_path / "wheels", tmp_path / "model"
    wheels.mkdir()
    (wheels / "fedethics-0.1.0-py3-none-any.whl").write_bytes(b"wheel")
    (wheels / "flwr-1.41.0-py3-none-any.whl").write_bytes(b"flower")
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"weights")
    data = tmp_path / "records.csv"
    data.write_text("age,num\n63,1\n")
    return wheels, model, data


@pytest.fixture
def bundle(parts, tmp_path):
    wheels, model, data = parts
    offline_bundle.make(tmp_path / "bundle", wheels=wheels, model=model, data=[data])
    return tmp_path / "bundle"


def test_a_bundle_as_it_was_made_verifies_and_names_its_manifest(bundle):
    expected = hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    assert offline_bundle.check(bundle) == expected


def test_the_hashes_are_those_that_another_tool_computes(bundle):
    listed = json.loads((bundle / "manifest.json").read_text())["files"]
    for name, entry in listed.items():
        shown = subprocess.run(
            ["sha256sum", str(bundle / name)], capture_output=True, text=True, check=True
        )
        assert shown.stdout.split()[0] == entry["sha256"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda b: (b / "model" / "model.safetensors").write_bytes(b"Weights"), "changed"),
        (lambda b: (b / "wheels" / "flwr-1.41.0-py3-none-any.whl").unlink(), "missing"),
        (lambda b: (b / "wheels" / "torch-9.whl").write_bytes(b"x"), "not in the manifest"),
        (lambda b: (b / "model" / "link").symlink_to("/etc/passwd"), "a link"),
        (lambda b: (b / "manifest.json").write_text("{}"), "not of format"),
    ],
)
def test_a_bundle_that_was_changed_is_refused(bundle, change, says):
    change(bundle)
    with pytest.raises(offline_bundle.BundleError, match=says):
        offline_bundle.check(bundle)


def test_records_are_listed_and_never_copied(bundle, parts):
    _, _, data = parts
    assert not list(bundle.rglob("records.csv"))
    offline_bundle.check(bundle, data=[data])
    data.write_text("age,num\n63,0\n")
    with pytest.raises(offline_bundle.BundleError, match="not the data set that was listed"):
        offline_bundle.check(bundle, data=[data])


def test_wheels_of_another_flower_make_no_bundle(parts, tmp_path):
    wheels, model, _ = parts
    (wheels / "flwr-1.41.0-py3-none-any.whl").rename(wheels / "flwr-1.42.0-py3-none-any.whl")
    with pytest.raises(offline_bundle.BundleError, match=r"no wheel flwr-1\.41"):
        offline_bundle.make(tmp_path / "bundle", wheels=wheels, model=model)
    assert not (tmp_path / "bundle").exists()


def test_a_data_set_that_is_not_there_makes_no_half_of_a_bundle(parts, tmp_path):
    wheels, model, data = parts
    missing = tmp_path / "missing.csv"
    with pytest.raises(offline_bundle.BundleError, match="is no file; nothing was written"):
        offline_bundle.make(tmp_path / "half", wheels=wheels, model=model, data=[data, missing])
    assert not (tmp_path / "half").exists()


def test_the_command_runs_with_nothing_but_python(bundle):
    command = [sys.executable, "-I", "-S", str(SCRIPT), str(bundle), "--check"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    (bundle / "model" / "config.json").write_text("{ }")
    assert subprocess.run(command, capture_output=True, check=False).returncode == 6
