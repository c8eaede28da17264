"""An offline bundle that was tampered with on its way is refused, file by file."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
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
        (lambda b: (b / "wheels" / "FLWR-1.41.0-py3-none-any.whl").write_bytes(b"x"), "one name"),
        (lambda b: (b / "MANIFEST.JSON").write_bytes(b"x"), "one name"),
        (lambda b: os.mkfifo(b / "wheels" / "pipe"), "not a plain file"),
        (lambda b: (b / "wheels" / "sub").mkdir(), "an empty folder"),
        (lambda b: (b / "x").symlink_to(b / "wheels"), "a link"),
        (lambda b: (b / "wheels" / "\x1b[2J").write_bytes(b"x"), "not in the manifest"),
        (lambda b: os.link(b / "model" / "config.json", b.parent / "other"), "hard links"),
        (lambda b: _replaced(b / "manifest.json", os.mkfifo), "not a plain file"),
        (lambda b: _replaced(b / "model" / "config.json", os.mkfifo), "not a plain file"),
        (lambda b: _replaced(b / "model", lambda at: at.symlink_to("/etc")), "a link"),
        (lambda b: (b / "requirements.txt").write_text("torch\n"), "changed"),
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
    (wheels / "flwr-1.41.0-py3-none-any.whl").rename(wheels / "flwr-1.43.0-py3-none-any.whl")
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


def _replaced(path, make):
    path.rename(path.parent.parent / "moved")
    make(path)


def _told(bundle, change):
    """Check a bundle whose sender wrote another manifest."""
    path = bundle / "manifest.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(offline_bundle.BundleError) as refused:
        offline_bundle.check(bundle)
    return str(refused.value)


ENTRY = {"bytes": 1, "sha256": "ab" * 32}


@pytest.mark.parametrize(
    "name",
    [
        "../x", "/etc/passwd", "wheels/../../x", "wheels//x", "./x", "wheels/./x", "", "..",
        "C:\\x",         "wheels\\x", "x\n", "x\x00", "a" * 500, ".hidden", "wheels/x ", "ｘ",
    ],
)  # fmt: skip
def test_a_name_that_leads_out_of_the_bundle_is_refused_before_anything_is_read(bundle, name):
    for part in ("files", "data"):
        told = _told(bundle, lambda document, part=part: document[part].update({name: ENTRY}))
        assert "no name of a file" in told or "missing" in told


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(files=[]),
        lambda d: d.update(files={"x": None}),
        lambda d: d.update(files={"x": {"bytes": 1}}),
        lambda d: d.update(files={"x": ENTRY | {"bytes": "1"}}),
        lambda d: d.update(files={"x": ENTRY | {"bytes": True}}),
        lambda d: d.update(files={"x": ENTRY | {"sha256": "AB" * 32}}),
        lambda d: d.update(data=None),
        lambda d: d.pop("data"),
        lambda d: d.update(format=1),
        lambda d: d.update(more=1),
    ],
)
def test_a_manifest_of_another_form_is_refused_in_one_error(bundle, change):
    assert "manifest.json" in _told(bundle, change)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"[" * 100_000, b'{"format":2,"format":2}', b"\xff", b" " * 5_000_000]
)
def test_bytes_that_are_no_manifest_are_refused_in_one_error(bundle, data):
    (bundle / "manifest.json").write_bytes(data)
    with pytest.raises(offline_bundle.BundleError, match="manifest"):
        offline_bundle.check(bundle)


def test_pip_is_given_every_wheel_with_its_hash_and_nothing_else(bundle):
    lines = (bundle / "requirements.txt").read_text().splitlines()
    digest = hashlib.sha256(b"flower").hexdigest()
    assert f"flwr==1.41.0 --hash=sha256:{digest}" in lines
    assert len(lines) == len(list((bundle / "wheels").iterdir())) == 2
    # A sender who lists another set of hashes than the manifest's is refused as well.
    (bundle / "requirements.txt").write_text(f"flwr==1.41.0 --hash=sha256:{'0' * 64}\n")
    entry = offline_bundle._entry(bundle / "requirements.txt")
    told = _told(bundle, lambda document: document["files"].update({"requirements.txt": entry}))
    assert "just these wheels" in told


@pytest.mark.parametrize("name", ["wheels/x-1-py3-none-any.whl", "model/x"])
def test_a_link_among_the_parts_makes_no_bundle(parts, tmp_path, name):
    wheels, model, data = parts
    (tmp_path / name).symlink_to(data)
    with pytest.raises(offline_bundle.BundleError, match="a link"):
        offline_bundle.make(tmp_path / "bundle", wheels=wheels, model=model)
    assert not (tmp_path / "bundle").exists()
