"""`fedethics dp-check`: would this charter, on this model and machine, train as DP-SGD must?"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from fedethics.charter.document import load
from fedethics.cli.output import AsJson, answer, table
from fedethics.errors import EXIT_INTEGRITY


def dp_check(
    charter: Annotated[Path, typer.Argument(help="The charter, .toml or .json.")],
    model_dir: Annotated[
        Path | None, typer.Option(help="The site's model folder or .gguf; else the embedded one.")
    ] = None,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where to try it.")] = "cpu",
    dtype: Annotated[
        Literal["float32", "bfloat16"], typer.Option(help="Precision of matrix products.")
    ] = "float32",
    as_json: AsJson = False,
) -> None:
    """Set the ten traps of DP training and run the mechanism self-test, on made-up records.

    Reads no data and spends no budget. Exit code 6 if anything fails.
    """
    # By name at run time: the officer's commands must start without torch, and this one needs it.
    engine: Any = importlib.import_module("fedethics.training.check")
    found = engine.check_charter(load(charter), model_dir=model_dir, device=device, dtype=dtype)
    sound = all(check.passed for check in found)
    document = {
        "charter": str(charter),
        "device": device,
        "dtype": dtype,
        "sound": sound,
        "checks": [{"name": c.name, "passed": c.passed, "detail": c.detail} for c in found],
    }

    def render(console: Console) -> None:
        rows = [(c.name, "ok" if c.passed else "FAILED", c.detail) for c in found]
        console.print(table(f"dp-check of {charter}", ("check", "state", "detail"), rows))

    answer(document, render, as_json=as_json)
    if not sound:
        raise typer.Exit(EXIT_INTEGRITY)
