"""`fedethics federation`: what the coordinator's operator does before, during and after a run.

`fedethics federation approve | remove`: the roster, and the invitation that follows.

`fedethics federation start | resume | stop`: one job's SuperLink and run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from fedethics.aggregates.monitoring import window_run
from fedethics.charter import document
from fedethics.charter.document import hash_of
from fedethics.charter.model import Charter
from fedethics.cli import federation_status
from fedethics.cli.census import UntilCensus, census, show_census
from fedethics.cli.output import (
    AsJson,
    CoordinatorHome,
    Terminal,
    Yes,
    agreed,
    answer,
    event_line,
    say,
    say_json,
    table,
)
from fedethics.commands import suggested
from fedethics.deployment.certificates import SERVER_DAYS
from fedethics.deployment.coordinator import Coordinator
from fedethics.deployment.locking import end_holder, stop_signal
from fedethics.deployment.settings import FederationHome
from fedethics.enrolment import files
from fedethics.enrolment.approval import Enrolment, approve, remove
from fedethics.enrolment.certificates import OwnCertificates, renew
from fedethics.enrolment.homes import IDENTITY, INVITATION, found_coordinator
from fedethics.enrolment.leaving import read_notice
from fedethics.enrolment.papers import SiteRequest, make_invitation, read_request
from fedethics.errors import EnrolmentError, FedethicsError, RunError
from fedethics.identity import Identity, fingerprint
from fedethics.storage.lines import Tail
from fedethics.systems import require_home_system


def approve_requests(
    home: CoordinatorHome,
    requests: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[REQUEST]...", help="Request files from the sites."),
    ] = None,
    replace: Annotated[
        bool, typer.Option(help="Accept a site whose key has changed since it was approved.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Put sites on the roster, and write the charter and the invitation.

    Call each site and compare the fingerprint before you say yes. The same requests again change
    nothing. Without requests, the invitation is written again; use this after an edit of
    federation.toml.
    """
    papers = [files.read(path) for path in requests or ()]
    asked = [read_request(data) for data in papers]
    if asked:
        if not as_json:
            _show_requests(Terminal(), asked)
        agreed("Did each site read out exactly this fingerprint to you?", yes=yes)
    settings = FederationHome.open(home)
    enrolment = approve(home, papers, replace=replace)
    _answer(home, settings, enrolment, as_json=as_json)


def remove_site(
    home: CoordinatorHome,
    notice: Annotated[
        Path, typer.Argument(metavar="NOTICE", help="The notice that `site leave` wrote.")
    ],
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Remove a site that left from the roster. All sites must join the new charter again."""
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
            f"{enrolment.missing} more site(s) are needed for a charter, because sums over fewer "
            "sites are never opened"
        ]
    named = f"{charter.name} version {charter.charter.version}, charter {hash_of(charter)}"
    if not enrolment.changed:
        return [f"nothing changed: {named}", f"invitation: {path}"]
    return [
        f"{named}",
        f"Send {path} to every site of the roster, and read out this fingerprint to each by "
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


_LOOK_S = 0.3
_DETAIL = ("leg-started", "leg-ended")  # in events.jsonl and `federation status`
_END_S = 90.0
Home = Annotated[Path, typer.Option(help="The coordinator's home.")]
LogJson = Annotated[
    bool, typer.Option("--log-json", help="One JSON object per line, for a log collector.")
]


Phase = Annotated[
    str,
    typer.Option(help="Of a charter with a search: trial-1, trial-2, ..., then final-N."),
]


def start(
    home: Home,
    log_json: LogJson = False,
    or_resume: Annotated[
        bool,
        typer.Option("--or-resume", help="Resume the job if it was started before; for systemd."),
    ] = False,
    until_census: UntilCensus = False,
    phase: Phase = "",
) -> None:
    """Start the SuperLink, wait for the sites, and run the job to its end."""
    opened = _of_phase(FederationHome.open(home), phase)
    if document.load(home / "charter.json").monitoring is not None:
        told = suggested("federation", "monitor", "start", "--home", home)
        raise RunError(f"the charter watches a release and trains nothing. Read a window: {told}")
    begun = (opened.job_dir / "state.json").exists()
    coordinator = Coordinator(
        opened, resume=or_resume and begun, until_census=until_census, phase=phase
    )
    if not begun:
        _foresee(coordinator.check(), log_json=log_json)
    _coordinate(coordinator, log_json=log_json)
    if until_census:
        show_census(opened.job_dir, as_json=log_json)
        again = suggested("federation", "resume", "--home", home)
        say(f"Nothing was trained. The page: {opened.job_dir / 'census.html'}. To train: {again}")


def _foresee(charter: Charter, *, log_json: bool) -> None:
    """Say what the gate will be able to conclude; the coordinator knows declared sizes only."""
    # Here: it takes numpy and scipy, which no other command of this module needs.
    from fedethics.foresight import words
    from fedethics.foresight.chances import SHORT
    from fedethics.foresight.of_charter import Declared, expected_held_out, foresee

    try:
        declared = Declared(records=expected_held_out(charter))
        found = foresee(charter, declared, effort=SHORT)
    except FedethicsError as error:
        said = [f"Verdicts are not foreseen: {error}"]
    else:
        said = [
            *words.sentences(found),
            f"Supposed: {'; '.join(found.supposed)}. `fedethics budget plan` takes what you know.",
        ]
    for sentence in said:
        _say_event({"event": "verdicts foreseen", "sentence": sentence}, log_json)


def _of_phase(opened: FederationHome, phase: str) -> FederationHome:
    """Return the home with the job of one run of a search: JOB-trial-1, beside the others."""
    if not phase:
        return opened
    job = replace(opened.settings.job, id=f"{opened.settings.job.id}-{phase}")
    return replace(opened, settings=replace(opened.settings, job=job))


def resume(home: Home, log_json: LogJson = False, phase: Phase = "") -> None:
    """Continue the job after its last committed round: a new run of the same job id."""
    opened = _of_phase(FederationHome.open(home), phase)
    _coordinate(Coordinator(opened, resume=True, phase=phase), log_json=log_json)


def read_window(
    home: Home,
    window: Annotated[
        int, typer.Option(min=0, help="Which window; default: the newest that may be read.")
    ] = 0,
    log_json: LogJson = False,
) -> None:
    """Read one window of new records with the released adapter; a window begun is resumed.

    Exit code: 0 holds, 12 drifted (an alarm), 4 cannot conclude. A window that was read before is
    only shown.
    """
    # Here: it takes numpy and scipy, which no other command of this module needs.
    from fedethics.cli.monitor import newest_window, read_verdict

    opened = FederationHome.open(home)
    charter = document.load(home / "charter.json")
    number = window or newest_window(charter)
    watching = opened.of_job(window_run(opened.settings.job.id, number))
    if not (watching.job_dir / "verdict.json").exists():
        begun = (watching.job_dir / "state.json").exists()
        _coordinate(Coordinator(watching, resume=begun), log_json=log_json)
    raise typer.Exit(read_verdict(watching.job_dir, as_json=log_json))


def stop(home: Home) -> None:
    """Stop the job that runs from this home; it can be resumed."""
    opened = FederationHome.open(home)
    if not end_holder(opened.state_dir / "lock", timeout_s=_END_S):
        raise RunError(f"no job is running from {opened.path}")
    again = suggested("federation", "resume", "--home", home)
    say(f"stopped job {opened.settings.job.id}. To continue it: {again}")


def _coordinate(coordinator: Coordinator, *, log_json: bool) -> None:
    stopping = stop_signal()
    events = Tail(coordinator.home.job_dir / "events.jsonl", from_end=True)
    job = coordinator.home.settings.job.id
    last, again = "", suggested("federation", "resume", "--home", coordinator.home.path)
    with coordinator.running():
        while coordinator.exit_code is None and not stopping.wait(_LOOK_S):
            for entry in (*coordinator.tend(), *events.new()):
                last = _say_event(entry, log_json) or last
        for entry in (*coordinator.tend(), *events.new()):
            last = _say_event(entry, log_json) or last
        code = coordinator.exit_code
    if stopping.is_set():
        raise RunError(f"job {job} was stopped. To continue it: {again}")
    if code != 0:
        log = coordinator.home.state_dir / "serverapp.log"
        raise RunError(
            f"job {job} did not finish{': ' + last if last else ''}. What was committed is kept; "
            f"see {log}. To continue it: {again}"
        )


def _say_event(entry: dict[str, Any], as_json: bool) -> str:
    """Show one entry; return why the run failed, if it says so."""
    if as_json:
        say_json(entry)
    elif entry.get("event") not in _DETAIL:
        say(event_line(entry))
    return str(entry.get("why") or entry.get("details") or "")


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
    address: Annotated[
        str, typer.Option(help="host:port that sites connect to; default: listen.")
    ] = "",
    certificate: Annotated[
        Path | None,
        typer.Option(help="Your own certificate, followed by those up to its authority's (PEM)."),
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
    ca: Annotated[Path | None, typer.Option(help="Its authority's certificate (PEM).")] = None,
    proxy_ca: Annotated[
        Path | None,
        typer.Option(help="Authority of the proxy's certificate (PEM), if it is a different one."),
    ] = None,
    shielded: Annotated[
        bool, typer.Option(help="Only the proxy can reach the listen address in this network.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make the coordinator's home: its key, its settings and its certificates.

    If anything fails, nothing is made. Without your own certificates, a pilot authority is made.
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
    which = "your own" if own else f"from a pilot authority, valid for {SERVER_DAYS} days"
    said = (
        f"{home} is the coordinator's home. Its key was made here and never leaves this machine.",
        f"fingerprint to read out to every site, by telephone: {print_of}",
        f"sites connect to {founded.address}",
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
        Path | None,
        typer.Option(help="The next certificate, followed by those up to its authority's (PEM)."),
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Its private key (PEM); default: the current one.")
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(help="Its authority's certificate (PEM); default: the current one."),
    ] = None,
    days: Annotated[
        int,
        typer.Option(
            min=1, max=825, help="Days for which a pilot authority's certificate is valid."
        ),
    ] = SERVER_DAYS,
    new_authority: Annotated[
        bool, typer.Option(help="Change the authority; every site must join again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Install the SuperLink's next certificate; a running job switches to it by itself.

    Sites trust the authority, so no site joins again. Without files, the pilot authority that
    `federation init` made signs the next certificate.
    """
    opened = FederationHome.open(home)
    present = opened.server_files
    if certificate is None and (key is not None or ca is not None):
        raise EnrolmentError("--key and --ca belong to a --certificate, which is missing")
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
        said.append(f"Its authority has changed. Write the invitation again: {again}")
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
        raise EnrolmentError(
            "your own certificates need all three of --certificate, --key and --ca"
        )
    return OwnCertificates(certificate=certificate, key=key, ca=ca, proxy_ca=proxy_ca)


# After the two commands above, in the order of a day.
app.command("approve")(approve_requests)
app.command("remove")(remove_site)
app.command("start")(start)
app.command("resume")(resume)
app.command("stop")(stop)
app.command("status")(federation_status.status)
app.command("census")(census)
watching = typer.Typer(help="Watch the release of this federation.", no_args_is_help=True)
watching.command("start")(read_window)
app.add_typer(watching, name="monitor")
