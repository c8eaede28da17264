"""The table of what is replaced in Flower is whole, true, and gated by a test for each row."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

from fedethics.flower import patches
from fedethics.flower.patches import PATCHES, database, server

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(patches.__file__).parent


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.symbol)
def test_what_is_replaced_is_where_the_table_says(patch):
    module, _, names = patch.symbol.partition(":")
    found = importlib.import_module(module)
    for name in names.split("."):
        found = getattr(found, name)
    assert found is not None


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.symbol)
def test_each_row_names_a_test_that_is_there(patch):
    file, _, name = patch.test.partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_each_module_of_the_folder_has_its_row_and_one_way_to_put_it_in_place():
    modules = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    assert {patch.by for patch in PATCHES} == modules
    for name in modules:
        assert callable(importlib.import_module(f"{patches.__name__}.{name}").install)


def _replaced(path: Path) -> set[str]:
    """The names of Flower's that a file assigns to, or whose attributes it does."""
    tree, flowers = ast.parse(path.read_text(encoding="utf-8")), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "flwr":
            flowers |= {each.asname or each.name for each in node.names}
        if isinstance(node, ast.Import):
            flowers |= {each.asname or "flwr" for each in node.names if "flwr" in each.name}
        if isinstance(node, ast.Assign) and "import_module('flwr" in ast.unparse(node.value):
            flowers |= {ast.unparse(target) for target in node.targets}
    found = set()
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else []
        for target in (each for each in targets if isinstance(each, ast.Attribute)):
            if ast.unparse(target.value).split(".")[0] in flowers:
                found.add(ast.unparse(target.value))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "setattr":
            found |= {ast.unparse(node.args[0])} & flowers
    return found


def test_no_other_file_replaces_anything_of_flowers():
    found = {
        str(path.relative_to(ROOT)): names
        for folder in ("fedethics", "server", "clients", "simulations")
        for path in (ROOT / folder).rglob("*.py")
        if path.parent != FOLDER and (names := _replaced(path))
    }
    assert found == {}
    assert _replaced(Path(server.__file__)) == {"command"}
    assert _replaced(Path(database.__file__)) == {"SqlMixin"}


def test_the_superlink_serves_by_the_name_that_we_replace():
    command = importlib.import_module("flwr.superlink.cli.flower_superlink")
    source = inspect.getsource(command)
    assert set(re.findall(r"uvicorn\.\w+(?=\()", source)) == {"uvicorn.run"}
    for word in ("app=", "host=", "port="):
        assert word in source.partition("uvicorn.run(")[2]
