"""`fedethics charter`: what is being agreed to, and the hash that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fedethics import terms
from fedethics.charter.document import hash_of, load, schema_hash
from fedethics.charter.model import Charter
from fedethics.cli.output import AsJson, answer, table

app = typer.Typer(help="Read a charter and its hash.", no_args_is_help=True)
CharterPath = Annotated[
    Path, typer.Argument(metavar="CHARTER", help="charter.toml or charter.json.")
]


@app.command()
def check(charter: CharterPath, as_json: AsJson = False) -> None:
    """Validate a charter: every problem at once, exit code 2 if there is any."""
    read = load(charter)
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
        ("not measured", "; ".join(charter.ethics.not_measured)),
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
