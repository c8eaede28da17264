"""`fedethics site join`: read an invitation, see what it asks, agree or not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fedethics import texts
from fedethics.cli.output import AsJson, Terminal, answer, table
from fedethics.cli.questions import Home, Yes, agreed
from fedethics.commands import suggested
from fedethics.enrolment import files
from fedethics.enrolment.joining import Proposal, install, propose
from fedethics.enrolment.route import Route
from fedethics.errors import PolicyRefusal
from fedethics.site.home import SiteHome


def join(
    home: Home,
    invitation: Annotated[Path, typer.Argument(metavar="INVITATION")],
    fingerprint: Annotated[
        str,
        typer.Option(
            prompt="Fingerprint that the coordinator read out to you",
            help="The coordinator's fingerprint, from a telephone call and not from this file.",
        ),
    ],
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Check an invitation, show what its charter asks and what the policy allows, and ask.

    Joining again under the same charter, address and authority asks nothing. A refusal changes
    nothing. After a yes, the charter, the coordinator's address and its
    authority's certificate are installed.
    """
    site = SiteHome.open(home)
    proposal = propose(site, files.read(invitation), said=fingerprint)
    if not as_json:
        _show(Terminal(), home, proposal)
    if proposal.refusals:
        raise PolicyRefusal(proposal.refusals)
    question = (
        f"Take part in {proposal.charter.name} under this charter, by way of "
        f"{proposal.invitation.superlink}?"
    )
    agreed(question, yes=yes or proposal.again)
    install(site, proposal)
    answer(_document(proposal), lambda console: _joined(console, home, site), as_json=as_json)


def _show(console: Console, home: Path, proposal: Proposal) -> None:
    charter, check = proposal.charter, suggested("site", "check", "--home", home)
    console.print(
        Text(
            f"{charter.name}, version {charter.charter.version}: "
            f"{texts.in_line(charter.ethics.purpose)}\n"
            f"charter {proposal.charter_hash}\n"
            f"between {', '.join(charter.site_names)}\n"
            f"who may be harmed: {texts.in_line(charter.ethics.harmed)}\n"
            f"coordinator's address: {proposal.invitation.superlink}\n"
            f"its authority's certificate, SHA-256: {Route.invited(proposal.invitation).authority}"
        ),
        soft_wrap=True,
    )
    rows = [(ask.term, ask.asked, ask.allowed) for ask in proposal.asks]
    heads = ("term", "the charter asks", "policy.toml allows")
    console.print(table("What it asks of this site", heads, rows))
    if proposal.changes:
        changed = [(one.key, one.old, one.new, one.meaning) for one in proposal.changes]
        heads_of_changes = ("term", "until now", "from now on", "what it means")
        console.print(table("What changes for this site", heads_of_changes, changed))
    elif proposal.again:
        console.print(Text("This site holds exactly this charter, address and authority already."))
    if proposal.unread:
        console.print(
            Text(
                "The records could not be judged yet, so their number and budget were not: "
                f"{proposal.unread}\nOnce they are in place: {check}",
                style="yellow",
            ),
            soft_wrap=True,
        )


def _joined(console: Console, home: Path, site: SiteHome) -> None:
    for line in (
        "joined. Sign the charter, once you mean it: "
        + suggested("charter", "sign", site.charter_path, "--site-home", home),
        "and look whether this machine is ready: " + suggested("site", "check", "--home", home),
    ):
        console.print(Text(line), soft_wrap=True)


def _document(proposal: Proposal) -> dict[str, object]:
    return {
        "charter": proposal.charter.name,
        "version": proposal.charter.charter.version,
        "charter-hash": proposal.charter_hash,
        "superlink": proposal.invitation.superlink,
        "ca-sha256": Route.invited(proposal.invitation).authority,
        "asks": [
            {"term": ask.term, "asked": ask.asked, "allowed": ask.allowed} for ask in proposal.asks
        ],
        "changes": [
            {"term": change.key, "old": change.old, "new": change.new}
            for change in proposal.changes
        ],
        "records-not-judged": proposal.unread,
    }
