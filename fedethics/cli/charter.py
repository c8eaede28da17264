"""`fedethics charter`: write, read, compare and sign what is being agreed to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fedethics import terms
from fedethics.charter.differences import Change, differences
from fedethics.charter.document import hash_of, load, schema_hash
from fedethics.charter.model import Charter
from fedethics.charter.signing import required_signers
from fedethics.charter.template import INDUSTRIES, charter_text, unfilled
from fedethics.cli import charter_signing
from fedethics.cli.charter_signing import CharterPath
from fedethics.cli.output import AsJson, answer, table, write_new
from fedethics.commands import suggested
from fedethics.errors import CharterError

app = typer.Typer(help="Write, read, compare and sign a charter.", no_args_is_help=True)
app.command("sign")(charter_signing.sign_charter)
app.command("collect")(charter_signing.collect)
app.command("verify")(charter_signing.verify_signatures)


@app.command()
def init(
    industry: Annotated[str, typer.Option(help=f"One of: {', '.join(INDUSTRIES)}.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")] = Path(
        "charter.toml"
    ),
    as_json: AsJson = False,
) -> None:
    """Write a commented charter to edit, for an industry; never overwrites one."""
    if industry not in INDUSTRIES:
        raise CharterError(
            f"--industry {industry!r} is not one of {', '.join(INDUSTRIES)}; nothing was written"
        )
    write_new(out, charter_text(industry), CharterError)
    check_it = suggested("charter", "check", out)
    lines = (f"wrote {out}; fill in what is in CAPITALS, then: {check_it}",)
    answer(
        {"written": str(out), "industry": industry},
        lambda console: console.print(Text("\n".join(lines)), soft_wrap=True),
        as_json=as_json,
    )


@app.command()
def check(charter: CharterPath, as_json: AsJson = False) -> None:
    """Validate a charter: every problem at once, exit code 2 if there is any."""
    read = load(charter)
    if left := unfilled(read):
        listed = "\n".join(f"  - {place}" for place in left)
        raise CharterError(
            f"{charter} is well formed, but still has its template's capitals; nobody can sign it. "
            f"Fill in, each between its quotes:\n{listed}"
        )
    found = {
        "valid": True,
        "name": read.name,
        "version": read.charter.version,
        "hash": hash_of(read),
        "draft": not read.roster,
    }

    def render(console: Console) -> None:
        state = "a draft without a roster" if not read.roster else f"{len(read.roster)} sites"
        console.print(Text(f"valid: {read.name} version {read.charter.version}, {state}"))
        console.print(Text(hash_of(read)), soft_wrap=True)

    answer(found, render, as_json=as_json)


@app.command()
def diff(
    before: Annotated[Path, typer.Argument(metavar="A", help="The earlier charter.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="The later charter.")],
    as_json: AsJson = False,
) -> None:
    """Say what two charters differ in, and what that means for people and privacy."""
    first, second = load(before), load(after)
    changes = differences(first, second)
    document = {
        "from": hash_of(first),
        "to": hash_of(second),
        "changes": [terms.document(change) for change in changes],
    }

    def render(console: Console) -> None:
        if not changes:
            console.print(Text("the same charter, to the byte"))
            return
        for change in changes:
            console.print(_told(change), soft_wrap=True)
        count = len(changes)
        console.print(
            Text(
                f"{count} change{'s' if count > 1 else ''}: another charter, so every signature "
                "over the earlier one is void for the later"
            ),
            soft_wrap=True,
        )

    answer(document, render, as_json=as_json)


def _told(change: Change) -> Text:
    text = Text.assemble((change.key, "bold"), f"\n  was  {change.old}\n  is   {change.new}")
    if change.meaning:
        text.append(f"\n  {change.meaning}", style="yellow")
    return text


@app.command()
def show(charter: CharterPath, as_json: AsJson = False) -> None:
    """Show the hash and the terms that decide about privacy, fairness and the cohort."""
    read = load(charter)
    document = {
        "hash": hash_of(read),
        "schema-hash": schema_hash(read),
        "charter": terms.document(read),
    }

    def render(console: Console) -> None:
        console.print(Text(f"charter {hash_of(read)}"), soft_wrap=True)
        console.print(table("Terms", ("term", "value"), _terms(read)))
        objectives = [
            (o.metric, o.feature or "all", f"{o.direction} {o.bar:g}", f"{o.confidence:g}", o.why)
            for o in read.ethics.objectives
        ]
        heads = ("metric", "groups", "bar", "confidence", "why")
        console.print(table("Objectives", heads, objectives))
        signers = [
            (s.role, s.name, s.public_key[:16] or "no key yet") for s in required_signers(read)
        ]
        console.print(table("Who must sign", ("role", "name", "key"), signers))
        members = [(m.site, m.declared_records, m.public_key[:16]) for m in read.roster]
        if members:
            console.print(table("Roster", ("site", "declared records", "key"), members))

    answer(document, render, as_json=as_json)


def _terms(charter: Charter) -> list[tuple[str, str]]:
    training, evaluation = charter.privacy.training, charter.privacy.evaluation
    aggregation = charter.secagg
    return [
        ("purpose", charter.ethics.purpose),
        ("who may be harmed", charter.ethics.harmed),
        ("reference population", charter.ethics.reference_population),
        ("not measured", "; ".join(charter.ethics.not_measured)),
        ("mitigation allowed", ", ".join(charter.ethics.allowed_mitigation)),
        ("release approved by", ", ".join(charter.ethics.approval_by) or "any one who signs"),
        ("model", f"{charter.model.name} ({charter.model.sha256[:16]})"),
        ("data", charter.data.source),
        ("rounds x local steps", f"{charter.training.rounds} x {charter.training.local_steps}"),
        ("unit, neighbours", f"{charter.privacy.unit}, {charter.privacy.neighbouring}"),
        ("delta", f"{charter.privacy.delta:g}"),
        (
            "training",
            f"{training.mechanism}, epsilon {training.epsilon:g}, trust {training.trust_mode}, "
            f"sampling rate {training.sampling_rate:g}, clipping {training.clipping_norm:g}",
        ),
        (
            "evaluation",
            f"{evaluation.mechanism}, epsilon {evaluation.epsilon:g}, "
            f"trust {evaluation.trust_mode}, {evaluation.bins} bins",
        ),
        (
            "sums",
            f"of at least {aggregation.minimum_cohort} sites, up to {aggregation.colluders} "
            f"colluding, {aggregation.mode} mode",
        ),
    ]
