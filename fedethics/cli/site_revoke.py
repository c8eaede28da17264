"""`fedethics site revoke`: stop believing a key, for good, by this site's word or its holder's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from fedethics import tasks
from fedethics.charter import document
from fedethics.cli.output import AsJson, answer
from fedethics.cli.questions import Home, Yes, agreed
from fedethics.enrolment import files
from fedethics.secagg import SiteSecagg, SiteStore, revocation_notice
from fedethics.site.home import SiteHome


def revoke(
    home: Home,
    key: Annotated[str, typer.Option(help="The public key, 64 hex digits.")] = "",
    reason: Annotated[str, typer.Option(help="Why, for people; no data.")] = "",
    notice: Annotated[
        Path | None, typer.Option(help="A notice that the key's holder signed, instead.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write the notice to a new file.")
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Revoke a member's key here: it is never believed again, and every open session ends.

    With --key: by this site's own decision. Revoking the site's own key and sending the notice
    tells others that its holder lost control of it. A run under way must be started anew.
    """
    if (notice is None) == (not key):
        raise typer.BadParameter("give --key with --reason, or --notice")
    site = SiteHome.open(home)
    identity = site.identity()
    data = (
        revocation_notice(identity, key=key, reason=reason)
        if notice is None
        else files.read(notice)
    )
    agreed("A revoked key never comes back. Revoke?", yes=yes)
    charter = document.load(site.charter_path)
    member = SiteSecagg(
        site=site.settings.site,
        identity=identity,
        terms=tasks.secagg_terms(charter, charter_hash=document.hash_of(charter)),
        store=SiteStore(site.opened_sums),
    )
    # The notice first: a key that is revoked is revoked for good, and its notice must be there.
    with files.put_back(*filter(None, (output,))):
        if output is not None:
            files.create(output, data, mode=0o644)
        revoked = member.revoke(data)
    line = f"revoked {revoked[:16]}...; what was agreed with it is wiped"
    answer({"revoked": revoked}, lambda console: console.print(Text(line)), as_json=as_json)
