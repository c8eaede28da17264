"""`fedethics site run`: the site's node, with one line that says how it stands."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.text import Text

from fedethics.cli.output import Terminal, event_line, figure, say
from fedethics.deployment.certificate_watch import CertificateWatch
from fedethics.deployment.locking import stop_signal
from fedethics.deployment.metrics import served
from fedethics.deployment.site_node import WORK_GRACE_S, SiteNode
from fedethics.deployment.site_status import SiteStatus, SiteWatch
from fedethics.errors import FedethicsError
from fedethics.site.home import SiteHome

_LOOK_S = 0.5
_PLAIN_S = 60.0
_STOPPING = f"told to; a message in hand is finished first, for up to {WORK_GRACE_S:.0f} s"


def run(
    home: Annotated[Path, typer.Option(help="The site's home.")],
    log_json: Annotated[
        bool, typer.Option("--log-json", help="One JSON object a line, for a log collector.")
    ] = False,
    metrics_port: Annotated[
        int | None,
        typer.Option(help="Answer /metrics (Prometheus) on this loopback port; 0 takes any."),
    ] = None,
    preload: Annotated[
        bool, typer.Option(help="Load records and model at the start, or with the first task.")
    ] = True,
) -> None:
    """Take part: run this site's node until it is told to stop (Ctrl-C, SIGTERM).

    No code that arrives over the network is run. Ends with an error when the coordinator refuses
    this node.
    """
    told = stop_signal()
    site = SiteHome.open(home.resolve())
    node = SiteNode(site, preload=preload)
    with node.running():
        watch, certificates = SiteWatch(site, node.contact), CertificateWatch(site)
        with served(metrics_port, lambda: watch.status) as port, _screen(log_json) as show:
            if metrics_port is not None:
                show.say({"event": "metrics", "address": f"http://127.0.0.1:{port}/metrics"})
            try:
                while not told.wait(_LOOK_S):
                    node.tend()
                    for entry in (*watch.look(note=node.note), *certificates.look()):
                        show.say(entry)
                    show.status(watch.status)
                show.say({"event": "stopping", "why": _STOPPING})
            except FedethicsError as error:
                show.say({"event": "ended", "code": error.code, "why": str(error)})
                raise


def line(status: SiteStatus) -> str:
    """Return the one line that an operator watches."""
    age = status.contact_age_s
    contact = "never" if age is None else "now" if age < 5 else f"{age:.0f} s ago"
    parts = [f"{status.site}: {status.state}"]
    if status.run:
        parts.append(f"run {status.run}, round {status.round_number} of {status.rounds}")
    if status.account:
        parts.append(
            f"epsilon spent {figure(status.spent)} of {figure(status.cap)}, left at least "
            f"{figure(status.left)} (delta={status.delta:g}, {status.account})"
        )
    parts.append(f"last contact {contact}")
    if status.refusal:
        parts.append(f"refused: {status.refusal}")
    if status.note:
        parts.append(status.note)
    return " | ".join(parts)


class _Screen:
    """Shows entries and the status in one of three ways: a live line, plain lines, or JSON."""

    def __init__(self, *, as_json: bool, live: Live | None) -> None:
        self._as_json = as_json
        self._live = live
        self._shown = ("", 0.0)

    def say(self, entry: dict[str, Any]) -> None:
        """Show one entry of the site's log."""
        if self._live is not None and entry.get("event") == "stopping":
            self._live.update(Text(event_line(entry)))
        elif self._as_json:
            _print(json.dumps({"time": datetime.now(UTC).isoformat(), **entry}))
        elif self._live is None and entry.get("event") != "answered":
            _print(event_line(entry))

    def status(self, status: SiteStatus) -> None:
        """Show the status: always when live, and otherwise when it has changed or grown old."""
        if self._live is not None:
            self._live.update(Text(line(status)))
            return
        now = datetime.now(UTC).timestamp()
        mark = f"{status.state} {status.run} {status.round_number} {status.note} {status.refusal}"
        if self._as_json or (mark == self._shown[0] and now - self._shown[1] < _PLAIN_S):
            return
        self._shown = (mark, now)
        _print(line(status))


@contextmanager
def _screen(as_json: bool) -> Iterator[_Screen]:
    if as_json or not sys.stdout.isatty():
        yield _Screen(as_json=as_json, live=None)
        return
    with Live(Text("starting"), console=Terminal(), refresh_per_second=4) as live:
        yield _Screen(as_json=False, live=live)


def _print(text: str) -> None:
    # Where the output is a file on a full disk, the node goes on without words.
    with suppress(OSError):
        say(text)
