"""The house in numbers: how many files, how long, how much of them imports, what a journey crosses.

    python -m tools.bench.house [--root ANOTHER-CHECKOUT]

Counts the product (`fedethics`, `server`, `clients`, `simulations`), no tests and no tools. A
journey is a list of steps, each a function or class by its name; its length is the number of files
that hold them, so that it follows what is moved or merged. The steps were taken from a trace of
every call in a dry run; a test checks that each is there. Prints Markdown.
"""

from __future__ import annotations

import argparse
import ast
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("fedethics", "server", "clients", "simulations")

# A step is NAME, or WHERE:NAME with a part of the path where several files hold the name, or
# NOW|ONCE for one that had another name in an older checkout.
JOURNEYS: Mapping[str, tuple[str, ...]] = {
    "a record, from file to clipped gradient": (
        "table_rows",
        "read_records",
        "parse_cell",
        "row_hash",
        "is_held_out",
        "row_text|tell",
        "site_records",
        "RequestContext|Session",
        "open_workbench",
        "TextReader",
        "shape_for",
        "Activations",
        "Network",
        "Learner",
        "site:train",
        "train_round",
        "gradients_of",
        "PerSampleGradients",
        "AutogradGradients|TappedGradients",
        "clipped_sum",
    ),
    "an update, from site to server step": (
        "site:train",
        "Quantiser",
        "SiteHandler",
        "site/:Journal",
        "SiteSecagg",
        "secagg:mask",
        "mask_in_place",
        "StoreTransaction",
        "Frame",
        "require_listed",
        "flower:answer",
        "reply_message",
        "Exchange",
        "Federation",
        "Sums",
        "CoordinatorRound",
        "open_exactly",
        "open_sum",
        "to_integers",
        "Rounds",
        "job:Job",
        "server_step",
    ),
    "a group count, from table to verdict": (
        "tabulate",
        "Layout",
        "site:measure",
        "share_of|draw_share",
        "CountMechanism",
        "OpenedSum",
        "Folder",
        "Tables",
        "fairness:Partition",
        "group_bands",
        "Estimate",
        "gap",
        "compare",
        "Metric",
        "Verdict",
        "as_objective",
        "rules:Rule",
        "GateReport",
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Module:
    """One file: its path below the root, its lines, and how many of them are imports or code."""

    path: str
    lines: int
    imports: int
    code: int


@dataclass(frozen=True, kw_only=True, slots=True)
class House:
    """What the modules of a tree come to; shares are of one."""

    modules: int
    median_lines: float
    largest: Module
    import_share_of_lines: float
    import_share_of_code: float
    imported_once: int


def measured(root: Path = ROOT) -> House:
    """Return the numbers of the product below `root`."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in _sources(root)}
    modules = [_module(path, tree, root=root) for path, tree in trees.items()]
    imports = sum(module.imports for module in modules)
    importers = importers_of(root)
    return House(
        modules=len(modules),
        median_lines=statistics.median(module.lines for module in modules),
        largest=max(modules, key=lambda module: module.lines),
        import_share_of_lines=imports / sum(module.lines for module in modules),
        import_share_of_code=imports / sum(module.code for module in modules),
        imported_once=sum(len(found) == 1 for found in importers.values()),
    )


def importers_of(root: Path = ROOT) -> dict[str, set[str]]:
    """Return each file of the product -> the files of the product that import from it."""
    names = {_name(path, root): str(path.relative_to(root)) for path in _sources(root)}
    found: dict[str, set[str]] = {path: set() for path in names.values()}
    for path in _sources(root):
        for name in _imported(ast.parse(path.read_text(encoding="utf-8"))):
            if name in names:
                found[names[name]].add(str(path.relative_to(root)))
    return found


def files_of(step: str, *, root: Path = ROOT) -> tuple[str, ...]:
    """Return the files of the library and the apps that define a step of a journey at their top."""
    where, _, spelled = step.rpartition(":")
    spellings = set(spelled.split("|"))
    return tuple(
        path
        for path, names in _defined(root).items()
        if spellings & names and where in path.removeprefix("fedethics/")
    )


@lru_cache
def _defined(root: Path) -> dict[str, frozenset[str]]:
    return {
        str(path.relative_to(root)): frozenset(
            node.name
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
        )
        for path in _sources(root)
        if path.relative_to(root).parts[0] in {"fedethics", "server"}
    }


def _journey(steps: tuple[str, ...], root: Path) -> str:
    """Return how many files a journey crosses, and what of it is not in this checkout."""
    found = {step: files_of(step, root=root) for step in steps}
    missing = [step for step, files in found.items() if len(files) != 1]
    crossed = {file for files in found.values() if len(files) == 1 for file in files}
    return f"{len(crossed)}" + (f" (not found: {', '.join(missing)})" if missing else "")


def _sources(root: Path) -> list[Path]:
    return [path for folder in PRODUCT for path in sorted((root / folder).rglob("*.py"))]


def _name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(tree: ast.Module) -> Iterable[str]:
    """Yield what may be a module's name: of `from a import b` both `a` and `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _module(path: Path, tree: ast.Module, *, root: Path) -> Module:
    lines = path.read_text(encoding="utf-8").splitlines()
    imports, strings = set[int](), set[int]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        # A string that stands alone is a docstring.
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            strings.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    code = sum(
        bool(line.strip()) and not line.strip().startswith("#") and number not in strings
        for number, line in enumerate(lines, start=1)
    )
    return Module(
        path=str(path.relative_to(root)), lines=len(lines), imports=len(imports), code=code
    )


def table(house: House, *, root: Path = ROOT) -> str:
    """Return the numbers as a table in Markdown."""
    rows = [
        ("modules", f"{house.modules}"),
        ("median file, lines", f"{house.median_lines:.0f}"),
        ("largest file, lines", f"{house.largest.lines} (`{house.largest.path}`)"),
        ("import lines, of all lines", f"{house.import_share_of_lines:.1%}"),
        ("import lines, of lines of code", f"{house.import_share_of_code:.1%}"),
        ("modules with one importer", f"{house.imported_once}"),
        *((f"files: {name}", _journey(steps, root)) for name, steps in JOURNEYS.items()),
    ]
    lines = ["| what | now |", "|---|---|", *(f"| {what} | {value} |" for what, value in rows)]
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=ROOT, help="another checkout to measure")
    root = parser.parse_args().root
    print(table(measured(root), root=root))


if __name__ == "__main__":
    main()
