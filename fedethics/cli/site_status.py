"""`fedethics site run | status | receipt`: the node as it runs, how it stands, what a run cost.

`fedethics site run`: the site's node, with one line that says how it stands.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from fedethics.cli.output import AsJson, Home, Terminal, answer, event_line, readable, say, table
from fedethics.commands import suggested
from fedethics.deployment.locking import stop_signal
from fedethics.deployment.site_look import SiteLook, look
from fedethics.deployment.site_node import WORK_GRACE_S, SiteNode
from fedethics.deployment.site_status import (
    CertificateWatch,
    SiteStatus,
    SiteWatch,
    served,
)
from fedethics.enrolment import files
from fedethics.errors import FedethicsError
from fedethics.privacy.ledger import read_book
from fedethics.privacy.ledger.entries import epsilon_document
from fedethics.site.home import SiteHome
from fedethics.site.runs import receipt_of

_LOOK_S = 0.5
_PLAIN_S = 60.0
_STOPPING = f"asked to stop; the current message is finished first, for up to {WORK_GRACE_S:.0f} s"


def run(
    home: Annotated[Path, typer.Option(help="The site's home.")],
    log_json: Annotated[
        bool, typer.Option("--log-json", help="One JSON object per line, for a log collector.")
    ] = False,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            help="Serve /metrics (Prometheus) on this loopback port; 0 takes any free port."
        ),
    ] = None,
    preload: Annotated[
        bool, typer.Option(help="Load records and model at the start, or only with the first task.")
    ] = True,
) -> None:
    """Take part: run this site's node until Ctrl-C or SIGTERM.

    No code that arrives over the network is run. Ends with an error when the coordinator refuses
    this node.
    """
    stopping = stop_signal()
    site = SiteHome.open(home.resolve())
    node = SiteNode(site, preload=preload)
    with node.running():
        watch, certificates = SiteWatch(site, node.contact), CertificateWatch(site)
        with served(metrics_port, lambda: watch.status) as port, _screen(log_json) as show:
            if metrics_port is not None:
                show.say({"event": "metrics", "address": f"http://127.0.0.1:{port}/metrics"})
            try:
                while not stopping.wait(_LOOK_S):
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
            f"epsilon spent {readable(status.spent)} of {readable(status.cap)}, left at least "
            f"{readable(status.left)} (delta={status.delta:g}, {status.account})"
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


def status(home: Home, as_json: AsJson = False) -> None:
    """Show the charter, the node, the runs so far and the budget left. Only reads."""
    site = SiteHome.open(home)
    seen = look(site, read_book(site.ledger_path, site.identity().public_key))
    found: dict[str, object] = {
        **seen.facts,
        "data-sets": [
            {
                "data-set": account.name,
                "epsilon": epsilon_document(account.spent),
                "cap": account.cap,
                "delta": account.delta,
            }
            for account in seen.accounts
        ],
        "runs": [
            {"run": run, "training-rounds-charged": rounds} for run, rounds in seen.runs.items()
        ],
    }
    answer(found, lambda console: _show(console, seen), as_json=as_json)


def receipt(
    home: Home,
    run: Annotated[str, typer.Option("--run", help="The run's id, as `site status` lists it.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A new file.")],
    as_json: AsJson = False,
) -> None:
    """Write the signed receipt of what one run spent here; anyone can verify it offline.

    It names the ledger's head and what the run cost one unit. It holds no number of records, no cap
    and no details of other runs.
    """
    site = SiteHome.open(home)
    files.create(output, receipt_of(site, run), mode=0o644)
    key = site.identity().public_key
    verify = suggested(
        "ledger", "verify", site.ledger_path, "--public-key", key, "--receipt", output
    )
    line = f"wrote {output}. To verify it: {verify}"
    found = {"receipt": str(output), "run": run, "public-key": key}
    answer(found, lambda console: console.print(Text(line), soft_wrap=True), as_json=as_json)


def _show(console: Console, seen: SiteLook) -> None:
    facts = [(name.replace("-", " "), value) for name, value in seen.facts.items()]
    console.print(table("", ("", ""), facts))
    if not seen.accounts:
        console.print(Text("Nothing has been charged here."))
        return
    rows = [
        (
            each.name,
            readable(each.spent),
            readable(each.cap),
            readable(each.left),
            f"{each.delta:g}",
        )
        for each in seen.accounts
    ]
    # A plain difference, and so a lower bound: composed epsilons do not add up.
    heads = ("data set", "epsilon spent", "cap for life", "left at least", "at delta")
    console.print(table("Budget, for one unit, add-or-remove-one", heads, rows))
    console.print(table("Runs", ("run", "training rounds charged"), list(seen.runs.items())))
