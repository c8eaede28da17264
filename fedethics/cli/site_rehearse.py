"""`fedethics site rehearse`: a dry run on this site's own data; no network, no budget."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from fedethics.cli.output import AsJson, Terminal, answer, say, table
from fedethics.cli.questions import Home
from fedethics.errors import RunError
from fedethics.site.rehearsal_steps import STEPS


def rehearse(home: Home, as_json: AsJson = False) -> None:
    """Play one round and one evaluation on this site's records, with stand-ins for the others.

    Everything that a run does here is done: permit, self-test, training with noise, tables,
    masking, opening. Nothing leaves this machine, nothing is charged, and what was computed is
    thrown away. Prints the time of each step and an estimate for the whole run.
    """
    console = Terminal(stderr=True)
    done: dict[str, Any] = {}
    with _bar(console) as bar:
        task = bar.add_task(STEPS[0], total=len(STEPS))
        for line in _lines(home):
            if "why" in line:
                bar.stop()
                say(f"fedethics: [{line['code']}] {line['why']}", err=True)
                raise typer.Exit(int(line["exit"]))
            if "step" in line:
                following = STEPS[min(STEPS.index(line["step"]) + 1, len(STEPS) - 1)]
                bar.update(task, advance=1, description=following)
            done = line.get("done", done)
    answer(_document(done), lambda screen: _show(screen, done), as_json=as_json)


def _lines(home: Path) -> Iterator[dict[str, Any]]:
    command = [sys.executable, "-P", "-m", "fedethics.site.rehearsal_process", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            if line.startswith("{"):
                yield json.loads(line)
        code = process.wait()
    if code < 0 or code == 1:
        raise RunError(
            f"the rehearsal's process ended with {code}; its own words are above. Nothing was "
            "charged; remove rehearsal-* from the home if it is still there"
        )


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )


def _document(done: dict[str, Any]) -> dict[str, object]:
    return {
        "seconds": done["seconds"],
        "self-test-seconds": done["self_test_s"],
        "whole-run-seconds": done["run_s"],
        "members": done["members"],
        "sums-exact": True,
        "ledger-unchanged": True,
    }


def _show(console: Console, done: dict[str, Any]) -> None:
    rows = [(step, f"{seconds:.1f}") for step, seconds in done["seconds"].items()]
    console.print(table("At this site", ("step", "seconds"), rows))
    for words in (
        f"Of the training, {done['self_test_s']:.1f} s are done once a run (self-test).",
        f"The whole run takes about {_span(done['run_s'])} here, without the network and without "
        "waiting for other sites.",
        f"Both sums over {done['members']} members were this site's own vector, bit for bit. The "
        "ledger is unchanged; nothing left this machine.",
    ):
        console.print(Text(words), soft_wrap=True)


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
