"""`make test-unit` needs neither torch nor Flower, and says which test would."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.without_torch import HEAVY

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", HEAVY)
def test_an_import_of_a_heavy_package_fails_with_its_name(name):
    code = f"from tests import without_torch as w; w.pytest_configure(); import {name}.anything"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"ImportError: {name}: a unit test imports none of" in done.stderr


def test_the_unit_tests_run_with_that_plugin_and_no_directory_is_run_twice_or_forgotten():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (unit,) = re.findall(r"^UNIT := (.+)$", makefile, flags=re.MULTILINE)
    assert all((ROOT / folder).is_dir() for folder in unit.split())
    (alone,) = re.findall(r"^\t.*pytest .*\$\(UNIT\)$", makefile, flags=re.MULTILINE)
    assert "-p tests.without_torch" in alone
    assert "$(UNIT:%=--ignore %)" in makefile
