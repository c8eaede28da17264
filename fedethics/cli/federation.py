"""`fedethics federation`: what the coordinator's operator does before, during and after a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fedethics.cli import federation_roster, federation_run, federation_status
from fedethics.cli.output import AsJson, answer
from fedethics.cli.questions import CoordinatorHome
from fedethics.commands import suggested
from fedethics.deployment.certificates import SERVER_DAYS
from fedethics.deployment.settings import FederationHome
from fedethics.enrolment.certificates import OwnCertificates, renew
from fedethics.enrolment.coordinator import found_coordinator
from fedethics.errors import EnrolmentError
from fedethics.identity import fingerprint
from fedethics.systems import require_home_system

app = typer.Typer(help="Coordinate a federation: enrol, start, watch, stop.", no_args_is_help=True)


@app.callback()
def federation_commands() -> None:
    """Coordinate a federation: enrol, start, watch, stop."""
    require_home_system("fedethics federation")


@app.command()
def init(
    home: CoordinatorHome,
    charter: Annotated[Path, typer.Option(help="The draft: a charter without its roster (TOML).")],
    listen: Annotated[str, typer.Option(help="host:port of the SuperLink.")] = "127.0.0.1:9443",
    address: Annotated[str, typer.Option(help="host:port that sites dial; default: listen.")] = "",
    certificate: Annotated[
        Path | None, typer.Option(help="Own certificate, and those up to its authority's (PEM).")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
    ca: Annotated[Path | None, typer.Option(help="Its authority's certificate (PEM).")] = None,
    proxy_ca: Annotated[
        Path | None,
        typer.Option(help="Authority of the proxy's certificate (PEM), where it has its own."),
    ] = None,
    shielded: Annotated[
        bool, typer.Option(help="The network keeps everyone but the proxy from listen.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make the coordinator's home: its key, its settings and its certificates.

    All of it is made, or nothing. Without certificates of your own, a pilot authority is made.
    """
    own = _own(certificate, key, ca, proxy_ca)
    founded = found_coordinator(
        home,
        draft=charter,
        listen=listen,
        address=address or listen,
        own=own,
        shielded=shielded,
    )
    print_of = fingerprint(founded.identity.public_key)
    which = "your own" if own else f"a pilot authority's, good for {SERVER_DAYS} days"
    said = (
        f"{home} is the coordinator's home. Its key was made here and never leaves.",
        f"fingerprint to read out to every site, by telephone: {print_of}",
        f"sites dial {founded.address}",
        f"certificates: {which}",
        *(f"note: {one}" for one in founded.warnings),
        "Next, with the requests of all sites: "
        + suggested("federation", "approve", "--home", home, "REQUEST..."),
    )
    document = {
        "home": str(home),
        "fingerprint": print_of,
        "address": str(founded.address),
        "pilot-authority": own is None,
        "warnings": list(founded.warnings),
    }
    answer(document, lambda console: _say(console, said), as_json=as_json)


@app.command("renew-certificate")
def renew_certificate(
    home: CoordinatorHome,
    certificate: Annotated[
        Path | None, typer.Option(help="The next one, and those up to its authority's (PEM).")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Its private key (PEM); default: the present one.")
    ] = None,
    ca: Annotated[
        Path | None, typer.Option(help="Its authority's (PEM); default: the present one.")
    ] = None,
    days: Annotated[
        int, typer.Option(min=1, max=825, help="How long a pilot authority's is valid.")
    ] = SERVER_DAYS,
    new_authority: Annotated[
        bool, typer.Option(help="Take another authority; every site must join again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put the SuperLink's next certificate in place; a running job takes it by itself.

    Sites believe the authority, so nobody enrols again. Without files, the pilot authority that
    `federation init` made signs the next one.
    """
    opened = FederationHome.open(home)
    present = opened.server_files
    if certificate is None and (key is not None or ca is not None):
        raise EnrolmentError("--key and --ca are those of a --certificate, which is missing")
    own = (
        None
        if certificate is None
        else OwnCertificates(certificate=certificate, key=key or present.key, ca=ca or present.ca)
    )
    renewed = renew(opened, own, new_authority=new_authority, days=days)
    end = renewed.end.date().isoformat() if renewed.end else ""
    said = [f"the SuperLink's certificate is renewed, until {end}"]
    said += [f"note: {one}" for one in renewed.warnings]
    if renewed.rejoin:
        again = suggested("federation", "approve", "--home", home)
        said.append(f"Its authority is another one. Write the invitation anew: {again}")
        said.append("Then send it to every site; each must join again before the next run.")
    document = {"end": end, "warnings": list(renewed.warnings), "rejoin": renewed.rejoin}
    answer(document, lambda console: _say(console, said), as_json=as_json)


def _say(console: Console, lines: Sequence[str]) -> None:
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def _own(
    certificate: Path | None, key: Path | None, ca: Path | None, proxy_ca: Path | None
) -> OwnCertificates | None:
    if certificate is None and key is None and ca is None:
        if proxy_ca is None:
            return None
        raise EnrolmentError(
            "--proxy-ca comes with --certificate, --key and --ca; after an init with a pilot "
            "authority, name it as proxy-ca in federation.toml. Nothing was written"
        )
    if certificate is None or key is None or ca is None:
        raise EnrolmentError("own certificates take all three of --certificate, --key and --ca")
    return OwnCertificates(certificate=certificate, key=key, ca=ca, proxy_ca=proxy_ca)


# After the two commands above, in the order of a day.
app.command("approve")(federation_roster.approve_requests)
app.command("remove")(federation_roster.remove_site)
app.command("start")(federation_run.start)
app.command("resume")(federation_run.resume)
app.command("stop")(federation_run.stop)
app.command("status")(federation_status.status)
