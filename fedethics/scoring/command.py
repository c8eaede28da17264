"""`fedethics release score` at work: a process of its own, since it needs torch."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

# Before anything of Hugging Face is imported: never download.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fedethics import memory, texts
from fedethics.cli.output import Terminal, answer, say, table
from fedethics.errors import FedethicsError
from fedethics.policy.model import Compute
from fedethics.scoring.score import Scored, score_release


def main() -> int:
    """Score what the command line names; an expected error is one message and its exit code."""
    options = _options()
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Terminal(stderr=True),
    )
    task = bar.add_task("verifying the release", total=None)
    try:
        with bar:
            done = score_release(
                options.run,
                data=options.data,
                out=options.out,
                model_dir=options.model_dir,
                compute=Compute(device=options.device),
                keep=options.keep,
                advanced=lambda number, of: bar.update(
                    task, completed=number, total=of, description="scoring"
                ),
            )
    except FedethicsError as error:
        say(texts.message(f"fedethics: [{error.code}] {error}"), err=True)
        return error.exit_code
    _show(done, options.out, as_json=options.json)
    return 0


def _show(done: Scored, out: Path, *, as_json: bool) -> None:
    document = {
        "out": str(out),
        "records": done.records,
        "decided": dict(done.decided),
        "not-scored": dict(done.left_out),
    }
    rows = [
        *((name, count) for name, count in done.decided.items()),
        *((f"not scored: {why}", count) for why, count in done.left_out.items()),
    ]

    def render(console: Console) -> None:
        title = f"{done.records} records, written to {out}"
        console.print(table(title, ("Decision", "Records"), rows))

    answer(document, render, as_json=as_json)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fedethics release score")
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model-dir", type=Path)
    parser.add_argument("--keep", action="append", default=[])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    memory.keep_private()
    sys.exit(main())
