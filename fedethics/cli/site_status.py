"""`fedethics site status | receipt`: how this site stands, and what a run cost, signed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fedethics.charter import document
from fedethics.cli.output import AsJson, answer, figure, table
from fedethics.cli.questions import Home
from fedethics.commands import suggested
from fedethics.deployment.certificate_watch import CALL, seen_end
from fedethics.deployment.chain import ending
from fedethics.deployment.locking import holder
from fedethics.enrolment import files
from fedethics.policy.model import load_policy
from fedethics.privacy.ledger import read_book
from fedethics.privacy.ledger.book import Book
from fedethics.privacy.ledger.model import epsilon_document
from fedethics.site.home import SiteHome
from fedethics.site.receipt import receipt_of
from fedethics.site.under_way import refused_since, runs_under_way


@dataclass(frozen=True, slots=True)
class _Account:
    """One data set: what was spent of its cap for life."""

    name: str
    spent: float
    cap: float
    delta: float


def status(home: Home, as_json: AsJson = False) -> None:
    """Show the charter, the node, the runs so far and the budget left. Touches nothing."""
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

    It names the ledger's head and tells what the run cost one unit; it holds no number of records,
    no cap and nothing of other runs.
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
        else f"{each.run} (began with other records than the data file holds now: it cannot go on)"
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
        console.print(Text("Nothing was ever charged here."))
        return
    rows = [
        (
            account.name,
            figure(account.spent),
            figure(account.cap),
            figure(max(0.0, account.cap - account.spent)),
            f"{account.delta:g}",
        )
        for account in accounts
    ]
    # A plain difference, and so a lower bound: composed epsilons do not add up.
    heads = ("data set", "epsilon spent", "cap for life", "left at least", "at delta")
    console.print(table("Budget, for one unit, add-or-remove-one", heads, rows))
    console.print(table("Runs", ("run", "training rounds charged"), runs))
