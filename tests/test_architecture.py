"""The house: what the bundle and the wheel hold, who imports whom, how long a function may be."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ("fedethics", "server", "clients", "simulations")


def _sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


# Two data sets ship as pickles. This file reads them, by hash and against a short list of names,
# when a data set is fetched; never when anything is run.
UNPICKLES_AT_SET_UP = "frame_pickle.py"


def test_imports_run_one_way():
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_library_functions_are_short_and_no_library_file_holds_an_assert_or_a_pickle():
    found = [finding for path in _sources(*LIBRARY) for finding in _findings(path)]
    assert found == []


def _findings(path: Path) -> list[str]:
    where, found = path.relative_to(ROOT), []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assert):
            found.append(f"{where}:{node.lineno}: assert")
        if isinstance(node, ast.Import) and path.name != UNPICKLES_AT_SET_UP:
            pickles = {a.name for a in node.names} & {"pickle", "dill", "cloudpickle"}
            found.extend(f"{where}:{node.lineno}: imports {name}" for name in sorted(pickles))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > 60:
                found.append(f"{where}:{node.lineno}: {node.name} has {length} lines")
    return found


# What only one room may do: each was done in five ways once, and they were not alike.
_OF_STORAGE = ("os.fsync(", "os.replace(", "os.O_EXCL", "fcntl.", "sqlite3.connect(", "mkstemp(")


def test_only_storage_syncs_locks_and_opens_databases():
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in _sources(*LIBRARY)
        for word in _OF_STORAGE
        if path.parent.name != "storage" and word in path.read_text(encoding="utf-8")
    ]
    assert found == []


def test_flower_runs_nothing_when_it_looks_the_apps_up():
    for name in ("server", "clients"):
        tree = ast.parse((ROOT / name / "__init__.py").read_text(encoding="utf-8"))
        assert all(isinstance(node, ast.Expr) for node in tree.body), name


def test_the_bundle_holds_the_two_apps_and_nothing_else(tmp_path):
    from flwr.cli.build import build_fab_from_disk

    bundle = tmp_path / "app.fab"
    bundle.write_bytes(build_fab_from_disk(ROOT))
    names = {name for name in zipfile.ZipFile(bundle).namelist() if not name.startswith(".info/")}
    wanted = {str(path.relative_to(ROOT)) for path in _sources("server", "clients")}
    assert names == wanted | {"pyproject.toml", "LICENSE"}


@pytest.mark.slow
def test_the_wheel_holds_fedethics_and_nothing_else(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT)],
        check=True,
    )
    (wheel,) = tmp_path.glob("fedethics-*.whl")
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"fedethics"}
    names = zipfile.ZipFile(wheel).namelist()
    assert "fedethics/py.typed" in names
    assert any(name.startswith("fedethics/release/templates/") for name in names)
    # And in it the Flower app, for coordinators without a checkout: what the bundle holds.
    wanted = {f"fedethics/app/{path.relative_to(ROOT)}" for path in _sources("server", "clients")}
    app = {name for name in names if name.startswith("fedethics/app/")}
    assert app == wanted | {"fedethics/app/pyproject.toml", "fedethics/app/LICENSE"}


def test_every_error_code_is_documented():
    errors = (ROOT / "fedethics" / "errors.py").read_text(encoding="utf-8")
    documented = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    codes = {
        line.split('"')[1] for line in errors.splitlines() if line.strip().startswith('code = "FE')
    }
    assert len(codes) > 10
    assert {code for code in codes if f"## {code}" not in documented} == set()
