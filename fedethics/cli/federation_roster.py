"""`fedethics federation approve | remove`: the roster, and the invitation that follows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fedethics.charter.document import hash_of
from fedethics.cli.output import AsJson, Terminal, answer, table
from fedethics.cli.questions import CoordinatorHome, Yes, agreed
from fedethics.deployment.settings import FederationHome
from fedethics.enrolment import files
from fedethics.enrolment.approval import Enrolment, approve, remove
from fedethics.enrolment.coordinator import IDENTITY, INVITATION
from fedethics.enrolment.invitation import make_invitation
from fedethics.enrolment.leaving import read_notice
from fedethics.enrolment.request import SiteRequest, read_request
from fedethics.identity import Identity, fingerprint


def approve_requests(
    home: CoordinatorHome,
    requests: Annotated[
        list[Path] | None, typer.Argument(metavar="[REQUEST]...", help="Files that sites sent.")
    ] = None,
    replace: Annotated[
        bool, typer.Option(help="A site may come with another key than it was approved with.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Put sites on the roster, and write the charter and the invitation that follow.

    Call each site and compare the fingerprint before you say yes. The same requests again change
    nothing; without requests, the invitation is written anew, as after an edit of federation.toml.
    """
    papers = [files.read(path) for path in requests or ()]
    asked = [read_request(data) for data in papers]
    if asked:
        if not as_json:
            _show_requests(Terminal(), asked)
        agreed("Has each site read out exactly this fingerprint to you?", yes=yes)
    settings = FederationHome.open(home)
    enrolment = approve(home, papers, replace=replace)
    _answer(home, settings, enrolment, as_json=as_json)


def remove_site(
    home: CoordinatorHome,
    notice: Annotated[Path, typer.Argument(metavar="NOTICE", help="What `site leave` wrote.")],
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Take a site that left off the roster. The rest is a new charter, which sites join again."""
    paper = files.read(notice)
    content, _ = read_notice(paper)
    agreed(f"Take {content.site} off the roster?", yes=yes)
    settings = FederationHome.open(home)
    _answer(home, settings, remove(home, paper), as_json=as_json)


def _answer(home: Path, settings: FederationHome, enrolment: Enrolment, *, as_json: bool) -> None:
    identity = Identity.load(home / IDENTITY)
    path = home / INVITATION
    if enrolment.charter is None:
        path.unlink(missing_ok=True)
    else:
        superlink = settings.settings.superlink
        invitation = make_invitation(
            identity,
            charter=enrolment.charter,
            superlink=str(superlink.dialled),
            ca=files.read(settings.sites_ca).decode("utf-8", errors="replace"),
        )
        files.replace(path, invitation, mode=0o644)
    print_of = fingerprint(identity.public_key)

    def render(console: Console) -> None:
        _show_roster(console, enrolment)
        for line in _next(enrolment, path, print_of):
            console.print(Text(line), soft_wrap=True)

    answer(_document(enrolment, path, print_of), render, as_json=as_json)


def _show_requests(console: Console, asked: list[SiteRequest]) -> None:
    rows = [
        (request.site, request.declared_records, fingerprint(request.public_key), request.made)
        for request in asked
    ]
    heads = ("site", "declares records", "fingerprint to compare", "made")
    console.print(table("Requests", heads, rows))


def _show_roster(console: Console, enrolment: Enrolment) -> None:
    rows = [
        (member.site, member.declared_records, fingerprint(member.public_key))
        for member in enrolment.members
    ]
    console.print(table("Roster", ("site", "declared records", "fingerprint"), rows))


def _next(enrolment: Enrolment, path: Path, print_of: str) -> list[str]:
    charter = enrolment.charter
    if charter is None:
        return [
            f"{enrolment.missing} more site(s) are needed before there is a charter: sums over "
            "fewer are never opened"
        ]
    named = f"{charter.name} version {charter.charter.version}, charter {hash_of(charter)}"
    if not enrolment.changed:
        return [f"nothing changed: {named}", f"invitation: {path}"]
    return [
        f"{named}",
        f"Send {path} to every site of the roster, and read this fingerprint to each on the "
        f"telephone: {print_of}",
        "Sites that joined an earlier version must join again.",
    ]


def _document(enrolment: Enrolment, path: Path, print_of: str) -> dict[str, object]:
    charter = enrolment.charter
    return {
        "sites": [
            {
                "site": member.site,
                "declared-records": member.declared_records,
                "fingerprint": fingerprint(member.public_key),
            }
            for member in enrolment.members
        ],
        "missing": enrolment.missing,
        "changed": enrolment.changed,
        "charter-hash": hash_of(charter) if charter else "",
        "version": charter.charter.version if charter else 0,
        "invitation": str(path) if charter else "",
        "fingerprint": print_of,
    }
