"""`fedethics federation status`: rounds, sites, time left; read from the event log."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from fedethics.charter import document
from fedethics.cli.output import AsJson, Terminal, table
from fedethics.cli.output import answer as give
from fedethics.deployment.job_look import JobLook, estimate, headline, span
from fedethics.deployment.settings import FederationHome
from fedethics.errors import RunError
from fedethics.release.run_log import RoundSeen, RunSeen, follow, read_events

_REFRESH_S = 1.0
_SHOWN_ROUNDS = 12


def status(
    job: Annotated[Path | None, typer.Option("--job", help="The run's directory.")] = None,
    home: Annotated[
        Path | None, typer.Option("--home", help="The coordinator's home, for its current job.")
    ] = None,
    keep_following: Annotated[
        bool, typer.Option("--follow", help="Redraw every second until the run is closed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the state of a run. Only reads its event log."""
    if (job is None) == (home is None):
        raise RunError("give --job with a run's directory, or --home with the coordinator's")
    if home is not None:
        opened = FederationHome.open(home)
        charter = home / "charter.json"
        if charter.exists() and document.load(charter).monitoring is not None:
            opened = opened.newest_window()
        shown = JobLook(opened.job_dir, opened)
    else:
        shown = JobLook.at(job or Path())
        if not shown.job.is_dir():
            raise RunError(f"{shown.job} is not a run's directory")
    run = follow(read_events(shown.job))
    if as_json or not keep_following:
        found = _document(run) | {"notes": shown.notes(run)}
        give(found, lambda console: console.print(_view(shown, run)), as_json=as_json)
        return
    with Live(_view(shown, run), console=Terminal(), auto_refresh=False) as live:
        while run.state != "closed":
            time.sleep(_REFRESH_S)
            run = follow(read_events(shown.job))
            live.update(_view(shown, run), refresh=True)


def _view(where: JobLook, run: RunSeen) -> RenderableType:
    shown = sorted(run.seen.values(), key=lambda each: each.number)[-_SHOWN_ROUNDS:]
    heads = ("round", "state", "took", "sites in the sum", "lost", "accuracy (interval)")
    parts: list[RenderableType] = [Text(headline(where.job, run), style="bold")]
    if shown:
        parts.append(table("", heads, [_row(each) for each in shown]))
    if run.advice:
        parts.append(Text(run.advice))
    for site, why in run.refusals.items():
        parts.append(Text(f"{site}: {why}", style="yellow"))
    parts.extend(Text(f"abandoned: {words}", style="yellow") for words in run.abandoned[-3:])
    parts.extend(Text(note, style="yellow") for note in where.notes(run))
    return Group(*parts)


def _row(each: RoundSeen) -> tuple[object, ...]:
    accuracy = each.accuracy
    return (
        each.number,
        "committed" if each.committed else "open",
        span((each.committed - each.started).total_seconds()) if each.committed else "",
        len(each.survivors) if each.committed else "",
        ", ".join(f"{site} ({stage})" for site, stage in each.dropped.items()),
        estimate(*accuracy) if accuracy else "",
    )


def _document(run: RunSeen) -> dict[str, object]:
    return {
        "state": run.state,
        "starts": run.starts,
        "rounds": run.rounds,
        "rounds-committed": run.committed,
        "sites-expected": run.expected,
        "sites": list(run.sites),
        "seconds-left": run.left_s,
        "last-event": run.last.isoformat() if run.last else "",
        "verdict": run.verdict,
        "clipping-advice": run.advice,
        "refusals": run.refusals,
        "abandoned-sums": run.abandoned,
        "committed": [
            {
                "round": each.number,
                "survivors": list(each.survivors),
                "dropped": each.dropped,
                "accuracy": list(each.accuracy) if each.accuracy else None,
            }
            for each in run.seen.values()
            if each.committed
        ],
    }
