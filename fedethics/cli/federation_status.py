"""`fedethics federation status`: rounds, sites, time left; read from the event log."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from fedethics.cli.output import AsJson, Terminal, table
from fedethics.cli.output import answer as give
from fedethics.errors import RunError
from fedethics.release.run_log import RoundSeen, RunSeen, follow, read_events

_REFRESH_S = 1.0
# Longer than any leg that goes well: something to look at.
_QUIET_S = 120.0
_SHOWN_ROUNDS = 12


def status(
    job: Annotated[Path, typer.Option("--job", help="The run's directory.")],
    keep_following: Annotated[
        bool, typer.Option("--follow", help="Redraw every second until the run is closed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show where a run stands. Reads its event log and touches nothing."""
    if not job.is_dir():
        raise RunError(f"{job} is no run's directory")
    run = follow(read_events(job))
    if as_json or not keep_following:
        give(_document(run), lambda console: console.print(_view(job, run)), as_json=as_json)
        return
    with Live(_view(job, run), console=Terminal(), auto_refresh=False) as live:
        while run.state != "closed":
            time.sleep(_REFRESH_S)
            run = follow(read_events(job))
            live.update(_view(job, run), refresh=True)


def _view(job: Path, run: RunSeen) -> RenderableType:
    shown = sorted(run.seen.values(), key=lambda each: each.number)[-_SHOWN_ROUNDS:]
    heads = ("round", "state", "took", "sites in the sum", "lost", "accuracy (interval)")
    parts: list[RenderableType] = [Text(_headline(job, run), style="bold")]
    if shown:
        parts.append(table("", heads, [_row(each) for each in shown]))
    for site, why in run.refusals.items():
        parts.append(Text(f"{site}: {why}", style="yellow"))
    parts.extend(Text(f"abandoned: {words}", style="yellow") for words in run.abandoned[-3:])
    quiet = _quiet_s(run)
    if quiet > _QUIET_S and run.state != "closed":
        parts.append(
            Text(
                f"Nothing was logged for {_span(quiet)}: the coordinator waits for a site, or died "
                "(then: fedethics federation resume)",
                style="yellow",
            )
        )
    return Group(*parts)


def _headline(job: Path, run: RunSeen) -> str:
    if run.state == "absent":
        return f"{job.name}: not begun"
    words = [f"{job.name}: {run.state}"]
    if run.rounds:
        words.append(f"{run.committed} of {run.rounds} rounds committed")
        words.append(f"{len(run.sites)} of {run.expected} sites")
    if run.starts > 1:
        words.append(f"resumed {run.starts - 1} time(s)")
    left = run.left_s
    if run.state == "closed":
        words.append(f"gate: {run.verdict}")
    elif left is not None:
        words.append(f"about {_span(left)} of rounds left")
    return ", ".join(words)


def _row(each: RoundSeen) -> tuple[object, ...]:
    accuracy = each.accuracy
    return (
        each.number,
        "committed" if each.committed else "open",
        _span((each.committed - each.started).total_seconds()) if each.committed else "",
        len(each.survivors) if each.committed else "",
        ", ".join(f"{site} ({stage})" for site, stage in each.dropped.items()),
        f"{accuracy[0]:.3f} ({accuracy[1]:.3f} to {accuracy[2]:.3f})" if accuracy else "",
    )


def _quiet_s(run: RunSeen) -> float:
    return (datetime.now(UTC) - run.last).total_seconds() if run.last else 0.0


def _span(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


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
