"""`fedethics site`: what the operator of one site does before, during and after a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fedethics.cli import (
    site_check,
    site_join,
    site_leave,
    site_reconsider,
    site_rehearse,
    site_revoke,
    site_run,
    site_status,
)
from fedethics.cli.output import AsJson, answer
from fedethics.cli.questions import Home
from fedethics.commands import suggested
from fedethics.enrolment import files
from fedethics.enrolment.founding import NODE_KEY, found_site
from fedethics.enrolment.node_key import public_half
from fedethics.enrolment.request import make_request
from fedethics.identity import fingerprint
from fedethics.site.home import SiteHome
from fedethics.systems import require_home_system

app = typer.Typer(help="Run one site: enrol, check, rehearse, run, leave.", no_args_is_help=True)


@app.callback()
def site_commands() -> None:
    """Run one site: enrol, check, rehearse, run, leave."""
    require_home_system("fedethics site")


@app.command()
def init(
    home: Home,
    site: Annotated[str, typer.Option(help="The name to ask for, such as st-anna.")],
    data: Annotated[Path, typer.Option(help="The records (CSV), there now or later.")] = Path(
        "data.csv"
    ),
    as_json: AsJson = False,
) -> None:
    """Make this site's home: keys, an empty ledger, and two commented files to fill in."""
    there = data.resolve() if data.exists() else data
    identity = found_site(home, site=site, data=str(there))
    print_of = fingerprint(identity.public_key)
    said = [
        f"{home} is the home of {site!r}. Its keys were made here and never leave.",
        f"fingerprint of its identity: {print_of}",
        f"Fill in {home / 'policy.toml'} (the privacy officer) and {home / 'site.toml'} (you), "
        "then:",
        "  "
        + suggested("site", "request", "--home", home, "-o", Path(f"{site}.request"))
        + " --declared-records NUMBER",
    ]
    document = {"home": str(home), "site": site, "fingerprint": print_of}
    answer(document, lambda console: _say(console, said), as_json=as_json)


@app.command()
def request(
    home: Home,
    output: Annotated[Path, typer.Option("--output", "-o", help="A new file, to send.")],
    declared_records: Annotated[
        int,
        typer.Option(
            min=1,
            prompt="Training records that this site declares (public; choose a round number)",
            help="Training size that you choose to publish; it sets the site's weight.",
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Write the signed request that asks the coordinator to enrol this site. It holds no secret."""
    settings, identity = SiteHome.open(home).settings, SiteHome.open(home).identity()
    key = settings.node.key if settings.node else NODE_KEY
    node_key = public_half(files.read(home / key))
    data = make_request(
        identity, site=settings.site, node_key=node_key, declared_records=declared_records
    )
    files.create(output, data, mode=0o644)
    print_of = fingerprint(identity.public_key)
    said = [
        f"wrote {output}: send it to the coordinator, by any way.",
        f"When they call back, read them this fingerprint: {print_of}",
    ]
    document = {"request": str(output), "site": settings.site, "fingerprint": print_of}
    answer(document, lambda console: _say(console, said), as_json=as_json)


def _say(console: Console, lines: list[str]) -> None:
    for line in lines:
        console.print(Text(line), soft_wrap=True)


# After the two commands above, in the order of a day.
app.command("join")(site_join.join)
app.command("check")(site_check.check)
app.command("rehearse")(site_rehearse.rehearse)
app.command("run")(site_run.run)
app.command("status")(site_status.status)
app.command("reconsider")(site_reconsider.reconsider)
app.command("receipt")(site_status.receipt)
app.command("revoke")(site_revoke.revoke)
app.command("leave")(site_leave.leave_federation)
