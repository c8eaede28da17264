"""`fedethics site`: what the operator of one site does before, during and after a run.

`fedethics site join`: read an invitation, see what it asks, agree or not.

`fedethics site leave`: a signed notice, no more work, and plain words on what stays.

`fedethics site revoke`: stop accepting a key for ever, by this site's decision or its holder's.

`fedethics site reconsider`: let a site decide again whether its records fit its charter.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from fedethics import texts
from fedethics.charter import document
from fedethics.cli import site_check, site_status
from fedethics.cli.output import AsJson, Home, Terminal, Yes, agreed, answer, readable, table
from fedethics.commands import suggested
from fedethics.enrolment import files
from fedethics.enrolment.homes import NODE_KEY, found_site
from fedethics.enrolment.leaving import Leaving, leave, prepare_leaving, write_notice
from fedethics.enrolment.papers import make_request, public_half
from fedethics.errors import PolicyRefusal, RunError
from fedethics.identity import fingerprint
from fedethics.privacy.ledger.entries import epsilon_document
from fedethics.site.home import SiteHome
from fedethics.site.journal import Journal
from fedethics.site.log import SiteLog
from fedethics.site.runs import refused_since
from fedethics.systems import require_home_system

if TYPE_CHECKING:
    from fedethics.enrolment.joining import Proposal


def join(
    home: Home,
    invitation: Annotated[Path, typer.Argument(metavar="INVITATION")],
    fingerprint: Annotated[
        str,
        typer.Option(
            prompt="Fingerprint that the coordinator read out to you",
            help="The coordinator's fingerprint, as you heard it by telephone, not from this file.",
        ),
    ],
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Check an invitation, show what its charter asks and what the policy allows, and ask you.

    If charter, address and authority are the same as before, the command does not ask. A
    refusal changes nothing. After a yes, the command installs the charter, the coordinator's
    address and its authority's certificate.
    """
    from fedethics.enrolment.joining import install, propose  # `site status` starts without it

    site = SiteHome.open(home)
    proposal = propose(site, files.read(invitation), said=fingerprint)
    if not as_json:
        _show_proposal(Terminal(), home, proposal)
    if proposal.refusals:
        raise PolicyRefusal(proposal.refusals)
    question = (
        f"Take part in {proposal.charter.name} under this charter, through "
        f"{proposal.invitation.superlink}?"
    )
    agreed(question, yes=yes or proposal.again)
    install(site, proposal)
    answer(
        _proposal_document(proposal), lambda console: _joined(console, home, site), as_json=as_json
    )


def _show_proposal(console: Console, home: Path, proposal: Proposal) -> None:
    from fedethics.enrolment.joining import Route

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
    console.print(table("What the charter asks of this site", heads, rows))
    if proposal.changes:
        changed = [(one.key, one.old, one.new, one.meaning) for one in proposal.changes]
        heads_of_changes = ("term", "until now", "from now on", "what it means")
        console.print(table("What changes for this site", heads_of_changes, changed))
    elif proposal.again:
        console.print(Text("This site already has exactly this charter, address and authority."))
    if proposal.unread:
        console.print(
            Text(
                "The records could not be read yet, so their number and budget were not checked: "
                f"{proposal.unread}\nOnce they are in place: {check}",
                style="yellow",
            ),
            soft_wrap=True,
        )


def _joined(console: Console, home: Path, site: SiteHome) -> None:
    for line in (
        "joined. Sign the charter when your institution agrees to it: "
        + suggested("charter", "sign", site.charter_path, "--site-home", home),
        "and check whether this machine is ready: " + suggested("site", "check", "--home", home),
    ):
        console.print(Text(line), soft_wrap=True)


def _proposal_document(proposal: Proposal) -> dict[str, object]:
    from fedethics.enrolment.joining import Route

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


def leave_federation(
    home: Home,
    output: Annotated[Path, typer.Option("--output", "-o", help="The notice: a new file.")],
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Leave the federation: write a signed notice to send, and answer no request from now on.

    The ledger, the keys and the old charters are kept.
    """
    site = SiteHome.open(home)
    leaving = prepare_leaving(site)
    lines = _what_stays(leaving)
    if not as_json:
        _say(Terminal(), lines)
    agreed("Leave?", yes=yes)
    with files.put_back(output):
        write_notice(output, leaving)
        leave(site)
    document = {
        "notice": str(output),
        "charter-hash": leaving.content.charter_hash,
        "runs": list(leaving.content.runs),
        "stays": [
            {
                "data-set": each.label,
                "epsilon": epsilon_document(each.epsilon),
                "delta": each.delta,
                "training-rounds": each.rounds,
            }
            for each in leaving.stays
        ],
        "meaning": lines,
    }
    done = [
        f"This site has left. Send {output} to the coordinator, and stop the node if it runs.",
        f"{site.ledger_path} is kept: what was spent on these records stays spent, wherever "
        "they are used next. Do not delete it.",
    ]
    answer(document, lambda console: _say(console, done), as_json=as_json)


def _what_stays(leaving: Leaving) -> list[str]:
    if not leaving.stays:
        return [
            "Nothing was computed here under this charter, so no model learnt from these records."
        ]
    lines = [
        "What leaving does not undo:",
        f"- {len(leaving.content.runs)} run(s) used this site's records: "
        f"{', '.join(leaving.content.runs)}. Their sums, and every model made from them, keep what "
        "they learned here. This software cannot remove it from them.",
    ]
    lines += [
        f"- {each.label} records: what was released about any one of them remains limited by "
        f"epsilon {readable(each.epsilon)} at delta {each.delta:g}"
        + (f" ({each.rounds} training rounds)." if each.rounds else ".")
        for each in leaving.stays
    ]
    return [*lines, "- This notice does not recall copies of the model that others hold."]


def _say(console: Console, lines: list[str]) -> None:
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def revoke(
    home: Home,
    key: Annotated[str, typer.Option(help="The public key, 64 hex digits.")] = "",
    reason: Annotated[str, typer.Option(help="The reason, for people to read; no data.")] = "",
    notice: Annotated[
        Path | None, typer.Option(help="Instead: a notice that the key's holder signed.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write the notice to a new file.")
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Revoke a member's key at this site: it is never accepted again, and every open session ends.

    With --key, this site decides by itself. To tell others that you lost control of the site's own
    key, revoke that key and send them the notice. A running job must be started again as a new run.
    """
    if (notice is None) == (not key):
        raise typer.BadParameter("give --key with --reason, or --notice")
    from fedethics.charter_sums import secagg_terms  # `site status` starts without the protocol
    from fedethics.secagg import SiteSecagg, SiteStore, revocation_notice

    site = SiteHome.open(home)
    identity = site.identity()
    data = (
        revocation_notice(identity, key=key, reason=reason)
        if notice is None
        else files.read(notice)
    )
    agreed("A revoked key can never be used again. Revoke it?", yes=yes)
    charter = document.load(site.charter_path)
    member = SiteSecagg(
        site=site.settings.site,
        identity=identity,
        terms=secagg_terms(charter, charter_hash=document.hash_of(charter)),
        store=SiteStore(site.opened_sums),
    )
    # The notice first: a key that is revoked is revoked for good, and its notice must be there.
    with files.put_back(*filter(None, (output,))):
        if output is not None:
            files.create(output, data, mode=0o644)
        revoked = member.revoke(data)
    line = f"revoked {revoked[:16]}...; everything agreed with it is deleted"
    answer({"revoked": revoked}, lambda console: console.print(Text(line)), as_json=as_json)


def reconsider(home: Home, yes: Yes = False, as_json: AsJson = False) -> None:
    """Let this site decide again whether its records fit its charter.

    If they did not fit, the site keeps that answer, so that the coordinator cannot learn of a
    change by asking again. Use this when the records are mended.
    """
    site = SiteHome.open(home)
    since = refused_since(site)
    if not since:
        raise RunError(
            f"{site.path} has no kept answer to its current charter; nothing was changed"
        )
    if not as_json:
        told = (
            f"On {since} the records did not fit the charter. If they fit now, the coordinator "
            "learns that they were changed."
        )
        _say_reconsidered(Terminal(), told)
    agreed("Decide again when the coordinator asks next?", yes=yes)
    charter_hash = document.hash_of(document.load(site.charter_path))
    SiteLog(site.path / "log.jsonl").write("reconsidered", charter=charter_hash, since=since)
    Journal(site.path / "journal.db").drop_refusal(charter_hash=charter_hash)
    line = "done. To see first what the site would answer: fedethics site check --home " + str(home)
    found = {"charter-hash": charter_hash, "refused-since": since}
    answer(found, lambda console: _say_reconsidered(console, line), as_json=as_json)


def _say_reconsidered(console: Console, line: str) -> None:
    console.print(Text(line), soft_wrap=True)


app = typer.Typer(help="Run one site: enrol, check, rehearse, run, leave.", no_args_is_help=True)


@app.callback()
def site_commands() -> None:
    """Run one site: enrol, check, rehearse, run, leave."""
    require_home_system("fedethics site")


@app.command()
def init(
    home: Home,
    site: Annotated[str, typer.Option(help="The name to ask for, such as st-anna.")],
    data: Annotated[Path, typer.Option(help="The file of records; it may be added later.")] = Path(
        "data.csv"
    ),
    as_json: AsJson = False,
) -> None:
    """Make this site's home: keys, an empty ledger, and two commented files to fill in."""
    there = data.resolve() if data.exists() else data
    identity = found_site(home, site=site, data=str(there))
    print_of = fingerprint(identity.public_key)
    said = [
        f"{home} is the home of {site!r}. Its keys were made here and never leave this machine.",
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
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The request: a new file, to send.")
    ],
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
        f"wrote {output}: send it to the coordinator, for example by mail.",
        f"When the coordinator calls you back, read out this fingerprint: {print_of}",
    ]
    document = {"request": str(output), "site": settings.site, "fingerprint": print_of}
    answer(document, lambda console: _say(console, said), as_json=as_json)


# After the two commands above, in the order of a day.
app.command("join")(join)
app.command("check")(site_check.check)
app.command("rehearse")(site_check.rehearse)
app.command("run")(site_status.run)
app.command("status")(site_status.status)
app.command("reconsider")(reconsider)
app.command("receipt")(site_status.receipt)
app.command("revoke")(revoke)
app.command("leave")(leave_federation)
