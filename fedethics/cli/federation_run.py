"""`fedethics federation start | resume | stop`: one job's SuperLink and run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fedethics.cli.output import event_line, say, say_json
from fedethics.commands import suggested
from fedethics.deployment.coordinator import Coordinator
from fedethics.deployment.locking import end_holder, stop_signal
from fedethics.deployment.settings import FederationHome
from fedethics.errors import RunError
from fedethics.storage.lines import Tail

_LOOK_S = 0.3
_DETAIL = ("leg-started", "leg-ended")  # in events.jsonl and `federation status`
_END_S = 90.0
Home = Annotated[Path, typer.Option(help="The coordinator's home.")]
LogJson = Annotated[
    bool, typer.Option("--log-json", help="One JSON object a line, for a log collector.")
]


def start(
    home: Home,
    log_json: LogJson = False,
    or_resume: Annotated[
        bool, typer.Option("--or-resume", help="Resume when the job was begun; for systemd.")
    ] = False,
) -> None:
    """Start the SuperLink, wait for the sites, and run the job to its end."""
    opened = FederationHome.open(home)
    begun = (opened.job_dir / "state.json").exists()
    _coordinate(Coordinator(opened, resume=or_resume and begun), log_json=log_json)


def resume(home: Home, log_json: LogJson = False) -> None:
    """Continue the job after its last committed round: a new run of the same job id."""
    _coordinate(Coordinator(FederationHome.open(home), resume=True), log_json=log_json)


def stop(home: Home) -> None:
    """Stop the job that is being run from this home; it can be resumed."""
    opened = FederationHome.open(home)
    if not end_holder(opened.state_dir / "lock", timeout_s=_END_S):
        raise RunError(f"nothing is being run from {opened.path}")
    again = suggested("federation", "resume", "--home", home)
    say(f"stopped job {opened.settings.job.id}. To continue it: {again}")


def _coordinate(coordinator: Coordinator, *, log_json: bool) -> None:
    told = stop_signal()
    events = Tail(coordinator.home.job_dir / "events.jsonl", from_end=True)
    job = coordinator.home.settings.job.id
    last, again = "", suggested("federation", "resume", "--home", coordinator.home.path)
    with coordinator.running():
        while coordinator.exit_code is None and not told.wait(_LOOK_S):
            for entry in (*coordinator.tend(), *events.new()):
                last = _say(entry, log_json) or last
        for entry in (*coordinator.tend(), *events.new()):
            last = _say(entry, log_json) or last
        code = coordinator.exit_code
    if told.is_set():
        raise RunError(f"job {job} was stopped. To continue it: {again}")
    if code != 0:
        log = coordinator.home.state_dir / "serverapp.log"
        raise RunError(
            f"job {job} did not finish{': ' + last if last else ''}. What was committed is kept; "
            f"see {log}. To continue it: {again}"
        )


def _say(entry: dict[str, Any], as_json: bool) -> str:
    """Show one entry; return why the run failed, if it says so."""
    if as_json:
        say_json(entry)
    elif entry.get("event") not in _DETAIL:
        say(event_line(entry))
    return str(entry.get("why") or entry.get("details") or "")
