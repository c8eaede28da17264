"""`fedethics site check`: is this site ready? A table of what was found and how to mend it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fedethics.cli.output import AsJson, answer
from fedethics.cli.output import table as rich_table
from fedethics.cli.questions import Home
from fedethics.errors import EXIT_ENVIRONMENT
from fedethics.site.finding import Finding
from fedethics.site.preflight import preflight

_STYLE = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def check(
    home: Home,
    offline: Annotated[
        bool, typer.Option("--offline", help="Leave out the connection to the coordinator.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check keys, ledger, policy, charter, records, model, budget, machine and connection.

    Under half a minute; charges nothing and trains nothing. Exit code 7 if anything would stop a
    run. Numbers of records are shown on the terminal only, never in the JSON answer.
    """
    found = list(preflight(home, network=not offline))
    failed = [finding for finding in found if finding.state == "fail"]
    document = {
        "ready": not failed,
        "findings": [
            {"check": f.check, "state": f.state, "found": f.found, "fix": f.fix} for f in found
        ],
    }
    answer(document, lambda console: _show(console, found), as_json=as_json)
    if failed:
        raise typer.Exit(EXIT_ENVIRONMENT)


def _show(console: Console, found: list[Finding]) -> None:
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
        console.print(Text(f"not ready: {failed} to mend, {warned} to look at", style="bold red"))
    else:
        console.print(Text(f"ready: {warned} to look at", style="bold green"))
