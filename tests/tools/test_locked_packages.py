"""What set-up installs is named with the hash of each file, and nothing else is installed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tools import setup as set_up

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.lock", "clients/requirements.lock")
FOUR_BITS = "clients/requirements-nf4.lock"
TRACKING = "clients/requirements-tracking.lock"
# Extras with a lock of their own.
APART = ("nf4", "tracking")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def plain(name):
    return re.sub(r"[-_.]+", "-", re.match(r"[A-Za-z0-9._-]+", name).group()).lower()


def entries(lock):
    """Return each locked package's version and number of hashes."""
    found = {}
    for block in re.split(r"\n(?=\S)", (ROOT / lock).read_text().strip()):
        name, _, version = block.split("\n")[0].split(" ")[0].partition("==")
        assert plain(name) not in found, f"{name} is locked twice"
        found[plain(name)] = (version, len(HASH.findall(block)))
    return found


def pins():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {plain(name): version for name, version in pairs}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_one_version_and_the_hashes_of_its_files(lock):
    locked = entries(lock)
    assert len(locked) > 50
    assert all(version and hashes for version, hashes in locked.values())
    assert {name: version for name, (version, _) in locked.items()}.items() <= pins().items()


def test_the_locks_are_all_that_is_pinned_but_torch():
    locked = {**entries("requirements.lock"), **entries(FOUR_BITS), **entries(TRACKING)}
    assert set(pins()) - set(locked) == {"torch"}


def test_four_bits_need_one_package_more_and_set_up_does_not_install_it():
    ((name, (version, hashes)),) = entries(FOUR_BITS).items()
    assert (name, version) == ("bitsandbytes", pins()["bitsandbytes"]) and hashes
    assert not set(entries(FOUR_BITS)) & {*entries(LOCKS[0]), *entries(LOCKS[1])}


def test_tracking_is_locked_apart_and_set_up_does_not_install_it():
    locked = entries(TRACKING)
    assert {"tensorboard", "mlflow-skinny"} <= set(locked)
    assert all(hashes and pins()[name] == version for name, (version, hashes) in locked.items())
    assert not {"tensorboard", "mlflow-skinny"} & {*entries(LOCKS[0]), *entries(LOCKS[1])}


@pytest.mark.parametrize(("lock", "extras"), [(LOCKS[0], True), (LOCKS[1], False)])
def test_each_package_that_the_project_asks_for_is_locked(lock, extras):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = list(project["dependencies"])
    if extras:
        groups = project["optional-dependencies"]
        asked += [one for name in groups if name not in APART for one in groups[name]]
    assert {plain(one) for one in asked} - {"torch"} <= entries(lock).keys()


def test_set_up_resolves_nothing_but_torch_and_holds_each_other_file_to_its_hash():
    by_version = [name for name, arguments in set_up.STEPS if "--no-deps" not in arguments]
    assert by_version == ["PyTorch"]
    for name, arguments in set_up.STEPS:
        from_here = arguments[-2:] == ["-e", "."] and "--no-build-isolation" in arguments
        assert name == "PyTorch" or from_here or "--require-hashes" in arguments
