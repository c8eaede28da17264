"""`fedethics federation status`: rounds, sites, time left; read from the event log."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from fedethics.cli.output import AsJson, Terminal, table
from fedethics.cli.output import answer as give
from fedethics.commands import suggested
from fedethics.deployment.chain import ending
from fedethics.deployment.locking import is_held
from fedethics.deployment.settings import FederationHome
from fedethics.errors import RunError, SetupError
from fedethics.release.run_log import RoundSeen, RunSeen, follow, read_events

_REFRESH_S = 1.0
# Longer than any leg that goes well: something to look at.
_QUIET_S = 120.0
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
    opened = FederationHome.open(home) if home is not None else _home_of(job)
    if job is None:
        job = opened.job_dir if opened else Path()
    if home is None and not job.is_dir():
        raise RunError(f"{job} is not a run's directory")
    run, shown = follow(read_events(job)), Shown(job, opened)
    if as_json or not keep_following:
        found = _document(run) | {"notes": shown.notes(run)}
        give(found, lambda console: console.print(_view(shown, run)), as_json=as_json)
        return
    with Live(_view(shown, run), console=Terminal(), auto_refresh=False) as live:
        while run.state != "closed":
            time.sleep(_REFRESH_S)
            run = follow(read_events(job))
            live.update(_view(shown, run), refresh=True)


@dataclass(frozen=True, slots=True)
class Shown:
    """A run's directory, and the home that it lies in; None where it lies elsewhere."""

    job: Path
    home: FederationHome | None

    def notes(self, run: RunSeen) -> list[str]:
        """Return what to look at: a certificate's end, a silence, a run that nobody runs."""
        return list(filter(None, (self._certificate(), self._quiet(run))))

    def _certificate(self) -> str:
        end = self.home.first_end() if self.home else None
        near = ending(end) if end else ""
        if not near or self.home is None:
            return ""
        return f"{near}: {suggested('federation', 'renew-certificate', '--home', self.home.path)}"

    def _quiet(self, run: RunSeen) -> str:
        quiet = _quiet_s(run)
        if run.state in ("closed", "absent"):
            return ""
        if self.home is not None and self._is_present and not self._is_run:
            again = suggested("federation", "resume", "--home", self.home.path)
            return f"No job is running from {self.home.path}; to continue: {again}"
        if quiet <= _QUIET_S:
            return ""
        return (
            f"No entry in the log for {_span(quiet)}: the coordinator waits for a site, or has died"
        )

    @property
    def _is_present(self) -> bool:
        return self.home is not None and self.home.job_dir == self.job.resolve()

    @property
    def _is_run(self) -> bool:
        return self.home is not None and is_held(self.home.state_dir / "lock")


def _home_of(job: Path | None) -> FederationHome | None:
    """Return the home that a run's directory lies in, if it lies in one that can be read."""
    if job is None:
        return None
    try:
        return FederationHome.open(job.resolve().parent.parent)
    except SetupError:
        return None


def _view(where: Shown, run: RunSeen) -> RenderableType:
    shown = sorted(run.seen.values(), key=lambda each: each.number)[-_SHOWN_ROUNDS:]
    heads = ("round", "state", "took", "sites in the sum", "lost", "accuracy (interval)")
    parts: list[RenderableType] = [Text(_headline(where.job, run), style="bold")]
    if shown:
        parts.append(table("", heads, [_row(each) for each in shown]))
    for site, why in run.refusals.items():
        parts.append(Text(f"{site}: {why}", style="yellow"))
    parts.extend(Text(f"abandoned: {words}", style="yellow") for words in run.abandoned[-3:])
    parts.extend(Text(note, style="yellow") for note in where.notes(run))
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
        _figure(*accuracy) if accuracy else "",
    )


def _figure(value: float | None, low: float, high: float) -> str:
    shown = "no estimate" if value is None else f"{value:.3f}"
    return f"{shown} ({low:.3f} to {high:.3f})"


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
