"""`fedethics site check | rehearse`: is this site ready, and would a run go well here?

`fedethics site rehearse`: a dry run on this site's own data; no network, no budget.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from fedethics.cli.output import AsJson, Home, Terminal, answer, say, table
from fedethics.cli.output import table as rich_table
from fedethics.errors import EXIT_ENVIRONMENT, RunError
from fedethics.site.preflight.check_result import CheckResult
from fedethics.site.rehearsal_steps import STEPS

_STYLE = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def check(
    home: Home,
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not connect to the coordinator.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check keys, ledger, policy, charter, records, model, budget, machine and connection.

    Takes under half a minute; charges nothing and trains nothing. Exit code 7 if anything stops a
    run. Numbers of records are shown on the terminal only, never in the JSON answer.
    """
    from fedethics.site.preflight.checks import preflight  # `site status` starts without it

    found = list(preflight(home, network=not offline))
    failed = [finding for finding in found if finding.state == "fail"]
    document = {
        "ready": not failed,
        "findings": [
            {"check": f.check, "state": f.state, "found": f.found, "fix": f.fix} for f in found
        ],
    }
    answer(document, lambda console: _show_findings(console, found), as_json=as_json)
    if failed:
        raise typer.Exit(EXIT_ENVIRONMENT)


def _show_findings(console: Console, found: list[CheckResult]) -> None:
    shown = rich_table("", ("check", "state", "found", "how to fix"), [])
    shown.show_lines = True
    for finding in found:
        words = "\n".join(filter(None, (finding.found, finding.local)))
        shown.add_row(
            Text(finding.check),
            Text(finding.state, style=_STYLE[finding.state]),
            Text(words),
            Text(finding.fix),
        )
    console.print(shown)
    failed = sum(finding.state == "fail" for finding in found)
    warned = sum(finding.state == "warn" for finding in found)
    if failed:
        console.print(Text(f"not ready: {failed} failed, {warned} warned", style="bold red"))
    else:
        console.print(Text(f"ready: {warned} warned", style="bold green"))


def rehearse(home: Home, as_json: AsJson = False) -> None:
    """Run one round and one evaluation on this site's records, with stand-ins for the other sites.

    It does everything that a run does here: permit, self-test, training with noise,
    tables, masking, opening. Nothing leaves this machine, nothing is charged, and the results are
    deleted. Prints the time of each step and an estimate for the whole run.
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
            f"the rehearsal's process ended with {code}; its message is above. Nothing was "
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
        *([f"{done['personal']}."] if done.get("personal") else []),
        f"Of the training, {done['self_test_s']:.1f} s are spent once in a run (self-test).",
        f"The whole run takes about {_span(done['run_s'])} here, without the network and without "
        "waiting for other sites.",
        f"Both sums over {done['members']} members were this site's own vector, bit for bit. The "
        "ledger is unchanged; nothing left this machine.",
    ):
        console.print(Text(words), soft_wrap=True)


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
