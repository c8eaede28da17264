"""`fedethics release score`: new records scored with a released adapter, behind a progress bar."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fedethics.cli.output import AsJson, Reading, Terminal, answer, table
from fedethics.data.file_terms import DataFile, terms_of
from fedethics.policy.model import Compute


def score_records(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The release, as runs/<id>.")],
    data: Annotated[
        Path, typer.Option(help="New records, with the charter's columns; no label is needed.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write: .csv or .jsonl.")],
    model_dir: Annotated[
        Path | None,
        typer.Option("--model-dir", help="Folder of the base model, where no package has it."),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Write this column beside the score. May repeat."),
    ] = None,
    most_tokens: Annotated[
        int,
        typer.Option("--max-new-tokens", min=1, max=4096, help="Of one answer, where it writes."),
    ] = 256,
    gpu: Annotated[bool, typer.Option("--gpu", help="Compute on the GPU.")] = False,
    read: Reading = None,
    as_json: AsJson = False,
) -> None:
    """Verify a release, then score new records with its adapter. No label is needed.

    Each line has the record's line number, its score, and the decision at the charter's threshold.
    A model that was trained on answers writes one to each prompt, the likeliest words (greedy).
    Nothing is written unless every record can be read. Nothing is charged or sent.
    """
    # Before anything of Hugging Face is imported: never download.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # By name at run time: the officer's commands must start without torch, and this one needs it.
    engine: Any = importlib.import_module("fedethics.scoring.score")
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Terminal(stderr=True),
    )
    task = bar.add_task("verifying the release", total=None)
    with bar:
        done: Any = engine.score_release(
            run,
            data=DataFile(data, terms_of(read or ())),
            out=out,
            model_dir=model_dir,
            compute=Compute(device="cuda" if gpu else "cpu"),
            keep=keep or (),
            most_tokens=most_tokens,
            advanced=lambda number, of: bar.update(
                task, completed=number, total=of, description="scoring"
            ),
        )
    _show(done, out, as_json=as_json)


def _show(done: Any, out: Path, *, as_json: bool) -> None:  # noqa: ANN401  of a module with torch
    document = {
        "out": str(out),
        "records": done.records,
        "decided": dict(done.decided),
        "not-scored": dict(done.left_out),
    }
    rows = [
        *done.decided.items(),
        *((f"not scored: {why}", count) for why, count in done.left_out.items()),
    ]

    def render(console: Console) -> None:
        title = f"{done.records} records, written to {out}"
        console.print(table(title, ("Decision", "Records"), rows))

    answer(document, render, as_json=as_json)
