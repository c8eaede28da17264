"""`fedethics release export`: a released adapter merged into its base."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from fedethics.cli.output import AsJson, Terminal, answer, table


def export_model(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The release, as runs/<id>.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write; a new one.")],
    model_dir: Annotated[
        Path | None,
        typer.Option("--model-dir", help="Folder of the base model, where no package has it."),
    ] = None,
    precision: Annotated[
        Literal["float32", "bfloat16", "float16"],
        typer.Option(help="Of the weights. Sixteen bits take half the space and round."),
    ] = "float32",
    as_json: AsJson = False,
) -> None:
    """Verify a release, then write its model: the base with the adapter merged into it.

    Plain transformers loads the folder; it holds the tokenizer, the chat template, the names of the
    classes, and a README with code. It is loaded again and compared before it gets its name.
    """
    # Before anything of Hugging Face is imported: never download.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # By name at run time: the officer's commands must start without torch, and this one needs it.
    engine: Any = importlib.import_module("fedethics.scoring.export")
    with Terminal(stderr=True).status("verifying, merging and comparing"):
        done: Any = engine.export_release(run, out=out, model_dir=model_dir, precision=precision)
    rows = [
        ("Folder", str(done.out)),
        ("Precision", done.precision),
        ("Size", f"{done.size / 1e6:,.1f} MB"),
        ("Largest difference to the judged model", f"{done.apart:.1e} of its largest output"),
        ("Next", f"read {done.out / 'README.md'}"),
    ]

    def render(console: Console) -> None:
        console.print(table("Exported", ("", ""), rows))

    document = {
        "out": str(done.out),
        "precision": done.precision,
        "bytes": done.size,
        "largest-difference": f"{done.apart:.3g}",
    }
    answer(document, render, as_json=as_json)
