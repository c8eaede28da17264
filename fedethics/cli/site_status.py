"""`fedethics site run | status | receipt`: the node as it runs, how it stands, what a run cost.

`fedethics site run`: the site's node, with one line that says how it stands.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from fedethics.charter import document
from fedethics.cli.output import AsJson, Home, Terminal, answer, event_line, readable, say, table
from fedethics.commands import suggested
from fedethics.deployment.chain import ending
from fedethics.deployment.locking import holder, stop_signal
from fedethics.deployment.site_node import WORK_GRACE_S, SiteNode
from fedethics.deployment.site_status import (
    CALL,
    CertificateWatch,
    SiteStatus,
    SiteWatch,
    seen_end,
    served,
)
from fedethics.enrolment import files
from fedethics.errors import FedethicsError
from fedethics.policy.model import load_policy
from fedethics.privacy.ledger import read_book
from fedethics.privacy.ledger.book import Book
from fedethics.privacy.ledger.entries import epsilon_document
from fedethics.site.home import SiteHome
from fedethics.site.runs import receipt_of, refused_since, runs_under_way

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


@dataclass(frozen=True, slots=True)
class _Account:
    """One data set: what was spent of its cap for life."""

    name: str
    spent: float
    cap: float
    delta: float


def status(home: Home, as_json: AsJson = False) -> None:
    """Show the charter, the node, the runs so far and the budget left. Only reads."""
    site = SiteHome.open(home)
    caps = load_policy(site.policy_path).caps
    book = read_book(site.ledger_path, site.identity().public_key)
    facts, delta = {**_facts(site), **_standing(site, book)}, caps.delta
    accounts = [
        _Account(
            f"{each.label} ({each.fingerprint[:12]})",
            book.spent(each, delta=delta),
            caps.epsilon_per_data_set,
            delta,
        )
        for each in book.data_sets()
    ]
    runs = [
        (run, sum(charge.kind == "update" for charge in book.counted(run=run)))
        for run in book.runs()
    ]
    found: dict[str, object] = {
        **facts,
        "data-sets": [
            {
                "data-set": account.name,
                "epsilon": epsilon_document(account.spent),
                "cap": account.cap,
                "delta": account.delta,
            }
            for account in accounts
        ],
        "runs": [{"run": run, "training-rounds-charged": rounds} for run, rounds in runs],
    }
    answer(found, lambda console: _show(console, facts, accounts, runs), as_json=as_json)


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


def _facts(site: SiteHome) -> dict[str, str]:
    charter = document.load(site.charter_path) if site.charter_path.exists() else None
    node = site.settings.node
    contact = site.path / "node" / "contact"
    end = seen_end(site)
    near = ending(end) if end else ""
    age = f"{time.time() - contact.stat().st_mtime:.0f} s ago" if contact.exists() else "never"
    return {
        "site": site.settings.site,
        "charter": f"{charter.name} version {charter.charter.version}" if charter else "none",
        "charter-hash": document.hash_of(charter) if charter else "",
        "coordinator": node.superlink if node else "none",
        "node": "running" if holder(site.path / "node" / "lock") else "not running",
        "last-contact": age,
        "certificate": f"{near}: {CALL}" if near else f"until {end.date()}" if end else "not seen",
    }


def _standing(site: SiteHome, book: Book) -> dict[str, str]:
    """Say which runs are under way, and what keeps this site from taking part."""
    kept = refused_since(site)
    runs = [
        each.run
        if each.same_records
        else f"{each.run} (began with other records than the file holds now: it cannot continue)"
        for each in runs_under_way(site, book)
    ]
    told = f"since {kept}: see `fedethics site check`" if kept else ""
    return {
        "under-way": ", ".join(runs) or "none",
        **({"records-refused": told} if told else {}),
    }


def _show(
    console: Console, facts: dict[str, str], accounts: list[_Account], runs: list[tuple[str, int]]
) -> None:
    console.print(table("", ("", ""), [(key.replace("-", " "), facts[key]) for key in facts]))
    if not accounts:
        console.print(Text("Nothing has been charged here."))
        return
    rows = [
        (
            account.name,
            readable(account.spent),
            readable(account.cap),
            readable(max(0.0, account.cap - account.spent)),
            f"{account.delta:g}",
        )
        for account in accounts
    ]
    # A plain difference, and so a lower bound: composed epsilons do not add up.
    heads = ("data set", "epsilon spent", "cap for life", "left at least", "at delta")
    console.print(table("Budget, for one unit, add-or-remove-one", heads, rows))
    console.print(table("Runs", ("run", "training rounds charged"), runs))
