"""`fedethics federation`: what the coordinator's operator does before, during and after a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fedethics.cli import federation_roster, federation_run, federation_status
from fedethics.cli.output import AsJson, answer
from fedethics.cli.questions import CoordinatorHome
from fedethics.enrolment.certificates import OwnCertificates, own_certificates, pilot_certificates
from fedethics.enrolment.coordinator import found_coordinator
from fedethics.errors import EnrolmentError
from fedethics.identity import fingerprint

app = typer.Typer(help="Coordinate a federation: enrol, start, watch, stop.", no_args_is_help=True)


@app.command()
def init(
    home: CoordinatorHome,
    charter: Annotated[Path, typer.Option(help="The draft: a charter without its roster (TOML).")],
    listen: Annotated[str, typer.Option(help="host:port of the SuperLink.")] = "127.0.0.1:9443",
    address: Annotated[str, typer.Option(help="host:port that sites dial; default: listen.")] = "",
    certificate: Annotated[Path | None, typer.Option(help="Own certificate (PEM).")] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
    ca: Annotated[Path | None, typer.Option(help="Its authority's certificate (PEM).")] = None,
    as_json: AsJson = False,
) -> None:
    """Make the coordinator's home: its key, its settings and its certificates.

    Without certificates of your own, a pilot authority is made, good for 90 days.
    """
    own = _own(certificate, key, ca)
    address = address or listen
    identity = found_coordinator(home, draft=charter, listen=listen, address=address)
    if own is None:
        pilot_certificates(home, (address, listen))
    else:
        own_certificates(home, own)
    print_of = fingerprint(identity.public_key)
    said = (
        f"{home} is the coordinator's home. Its key was made here and never leaves.",
        f"fingerprint to read out to every site, by telephone: {print_of}",
        f"certificates: {'your own' if own else 'a pilot authority, good for 90 days'}",
        f"Next, with the requests of all sites: fedethics federation approve --home {home} "
        "*.request",
    )

    def render(console: Console) -> None:
        for line in said:
            console.print(Text(line), soft_wrap=True)

    document = {"home": str(home), "fingerprint": print_of, "pilot-authority": own is None}
    answer(document, render, as_json=as_json)


def _own(certificate: Path | None, key: Path | None, ca: Path | None) -> OwnCertificates | None:
    if certificate is None and key is None and ca is None:
        return None
    if certificate is None or key is None or ca is None:
        raise EnrolmentError("own certificates take all three of --certificate, --key and --ca")
    return OwnCertificates(certificate=certificate, key=key, ca=ca)


# After the two commands above, in the order of a day.
app.command("approve")(federation_roster.approve_requests)
app.command("remove")(federation_roster.remove_site)
app.command("start")(federation_run.start)
app.command("resume")(federation_run.resume)
app.command("stop")(federation_run.stop)
app.command("status")(federation_status.status)
