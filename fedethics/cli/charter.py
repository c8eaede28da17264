"""`fedethics charter`: write, read, compare and sign what is being agreed to.

`fedethics charter sign | collect | verify`: who signed a charter, and who has not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fedethics import terms
from fedethics.charter.benchmark_terms import BenchmarkObjective
from fedethics.charter.cohorts import words
from fedethics.charter.differences import Change, differences
from fedethics.charter.document import (
    INDUSTRIES,
    charter_text,
    hash_of,
    load,
    schema_hash,
    unfilled,
)
from fedethics.charter.model import Charter
from fedethics.charter.signing import (
    ROLES,
    CharterSignature,
    Standing,
    add_signatures,
    load_signatures,
    required_signers,
    sign,
    signatures_path,
    standing,
)
from fedethics.cli.model import ModelDir, WithModel, trained_parameters
from fedethics.cli.output import AsJson, answer, say_json, table, write_new
from fedethics.commands import suggested
from fedethics.errors import EXIT_AWAITING_PEOPLE, EXIT_INTEGRITY, CharterError
from fedethics.identity import Identity
from fedethics.term_schema import json_schema

CharterPath = Annotated[
    Path, typer.Argument(metavar="CHARTER", help="charter.toml or charter.json.")
]
SignaturesPath = Annotated[
    Path | None,
    typer.Option(
        "--signatures",
        help="The file of signatures; default: charter.signatures.json next to the charter.",
    ),
]


def sign_charter(
    charter: CharterPath,
    key: Annotated[Path | None, typer.Option(help="The signing key (mode 0600).")] = None,
    role: Annotated[str, typer.Option(help=f"One of: {', '.join(ROLES)}.")] = "",
    site_home: Annotated[
        Path | None, typer.Option(help="Sign as a site, with the identity.key in its home.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Sign the charter as it is, in the role that it gives to this key."""
    read = load(charter)
    identity, role = _signer(key, role, site_home)
    made = sign(read, identity, role=role)
    path = signatures_path(charter)
    count = add_signatures(path, read, [made])
    found = standing(read, load_signatures(path))
    document = {
        "charter": hash_of(read),
        "signatures": str(path),
        "signed-by": made.name,
        "role": made.role,
        "listed": count,
        "missing": [signer.label for signer in found.missing],
    }

    def render(console: Console) -> None:
        console.print(Text(f"signed as {made.role} {made.name}; {path} lists {count}"))
        console.print(Text(_waiting(found)), soft_wrap=True)

    answer(document, render, as_json=as_json)


def collect(
    charter: CharterPath,
    others: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Signatures that others made.")
    ],
    as_json: AsJson = False,
) -> None:
    """Collect signatures from other machines in one file; void ones are refused."""
    read = load(charter)
    more = [one for path in others for one in _given(path)]
    void = standing(read, more).void
    if void:
        raise CharterError(" ".join((*void, "Nothing was written.")))
    path = signatures_path(charter)
    count = add_signatures(path, read, more)
    found = standing(read, load_signatures(path))
    document = {"signatures": str(path), "listed": count}

    def render(console: Console) -> None:
        console.print(Text(f"{path} lists {count}"))
        console.print(Text(_waiting(found)), soft_wrap=True)

    answer(document, render, as_json=as_json)


def verify_signatures(
    charter: CharterPath, signatures: SignaturesPath = None, as_json: AsJson = False
) -> None:
    """Show who signed and who is missing. Exit code: 0 all signed, 8 some missing, 6 any void."""
    read = load(charter)
    found = standing(read, load_signatures(signatures or signatures_path(charter)))
    document = {
        "charter": hash_of(read),
        "complete": found.complete,
        "signed": [terms.document(one) for one in found.valid],
        "missing": [signer.label for signer in found.missing],
        "void": list(found.void),
    }
    answer(document, lambda console: _show(console, read, found), as_json=as_json)
    if not found.complete:
        raise typer.Exit(EXIT_INTEGRITY if found.void else EXIT_AWAITING_PEOPLE)


def _signer(key: Path | None, role: str, site_home: Path | None) -> tuple[Identity, str]:
    if site_home is not None and key is None and role in {"", "site"}:
        return Identity.load(site_home / "identity.key"), "site"
    if key is None or site_home is not None:
        raise CharterError(
            "give either --key KEY --role ROLE, or --site-home HOME. Nothing was signed"
        )
    if role not in ROLES:
        raise CharterError(f"--role {role!r} is not one of {', '.join(ROLES)}. Nothing was signed")
    return Identity.load(key), role


def _given(path: Path) -> tuple[CharterSignature, ...]:
    if not path.is_file():
        raise CharterError(f"signatures {path}: there is no such file. Nothing was written")
    return load_signatures(path)


def _show(console: Console, charter: Charter, found: Standing) -> None:
    console.print(Text(f"charter {hash_of(charter)}"), soft_wrap=True)
    for one in found.valid:
        note = ", simulated: not the consent of any person" if one.simulated else ""
        console.print(Text.assemble(("✓", "green"), f" {one.role} {one.name}, {one.signed}{note}"))
    for signer in found.missing:
        console.print(Text.assemble(("?", "yellow"), f" {signer.label} has not signed"))
    for sentence in found.void:
        console.print(Text.assemble(("✗", "bold red"), f" {sentence}"))
    if not charter.ethics.stakeholders:
        console.print(
            Text(
                "The charter names no stakeholder: only the sites and the coordinator are asked "
                "to sign it."
            ),
            soft_wrap=True,
        )


def _waiting(found: Standing) -> str:
    if found.missing:
        return f"not signed yet: {', '.join(signer.label for signer in found.missing)}"
    return "everyone whom the charter names has signed"


app = typer.Typer(help="Write, read, compare and sign a charter.", no_args_is_help=True)
app.command("sign")(sign_charter)
app.command("collect")(collect)
app.command("verify")(verify_signatures)


@app.command()
def init(
    industry: Annotated[str, typer.Option(help=f"One of: {', '.join(INDUSTRIES)}.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")] = Path(
        "charter.toml"
    ),
    as_json: AsJson = False,
) -> None:
    """Write a commented charter to edit, for an industry. Never overwrites a file."""
    if industry not in INDUSTRIES:
        raise CharterError(
            f"--industry {industry!r} is not one of {', '.join(INDUSTRIES)}; nothing was written"
        )
    write_new(out, charter_text(industry), CharterError)
    check_it = suggested("charter", "check", out)
    lines = (f"wrote {out}; fill in the words in CAPITALS, then run: {check_it}",)
    answer(
        {"written": str(out), "industry": industry},
        lambda console: console.print(Text("\n".join(lines)), soft_wrap=True),
        as_json=as_json,
    )


@app.command()
def check(
    charter: CharterPath,
    with_model: WithModel = False,
    model_dir: ModelDir = None,
    as_json: AsJson = False,
) -> None:
    """Check a charter and list every problem. Exit code 2 if there is one.

    With the model, also check whether the adapter fits it, and how large the signal of a step is.
    """
    read = load(charter)
    if left := unfilled(read):
        listed = "\n".join(f"  - {place}" for place in left)
        raise CharterError(
            f"{charter} is well formed, but some texts of its template are left (in CAPITALS, or "
            f'beginning with "DECIDE: "), so it cannot be signed. Replace each of them:\n{listed}'
        )
    _try_template(read)
    found = {
        "valid": True,
        "name": read.name,
        "version": read.charter.version,
        "hash": hash_of(read),
        "draft": not read.roster,
    }
    lines, warnings = _heard(read, model_dir) if with_model or model_dir else ([], [])
    if lines:
        found |= {"model": lines, "warnings": warnings}

    def render(console: Console) -> None:
        state = "a draft without a roster" if not read.roster else f"{len(read.roster)} sites"
        console.print(Text(f"valid: {read.name} version {read.charter.version}, {state}"))
        console.print(Text(hash_of(read)), soft_wrap=True)
        for line in lines:
            console.print(Text(line), soft_wrap=True)
        for line in warnings:
            console.print(Text(line, style="yellow"), soft_wrap=True)

    answer(found, render, as_json=as_json)


def _try_template(charter: Charter) -> None:
    """Run the charter's own chat template once, where this system can limit what it takes."""
    # Starts a process; most charters have no template.
    if charter.model.chat_template:
        from fedethics.training.preview import try_charter_template

        try_charter_template(charter)


def _heard(charter: Charter, model_dir: Path | None) -> tuple[list[str], list[str]]:
    """Return what is known of the model and a step's signal, and what to change."""
    # The planner takes a second to import, and a plain check needs none of it.
    from fedethics.cli.budget_plan import plan_of_charter

    parameters = trained_parameters(charter, model_dir)
    planned = plan_of_charter(charter, sites={}, parameters=parameters)
    lines = [f"the adapter fits the model: {parameters:,} parameters are trained in a step"]
    if planned.signal is not None:
        lines.append(f"batch / (noise x sqrt(p)) of a step: {planned.signal.bound:.3g}")
    elif planned.sigma is not None:
        lines.append(
            "batch / (noise x sqrt(p)) of a step: not known without the roster; use `fedethics "
            f"budget plan` with --parameters {parameters} and --site tells it"
        )
    return lines, planned.warnings()


@app.command()
def diff(
    before: Annotated[Path, typer.Argument(metavar="A", help="The earlier charter.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="The later charter.")],
    as_json: AsJson = False,
) -> None:
    """Show how two charters differ, and what that means for people and privacy."""
    first, second = load(before), load(after)
    changes = differences(first, second)
    document = {
        "from": hash_of(first),
        "to": hash_of(second),
        "changes": [terms.document(change) for change in changes],
    }

    def render(console: Console) -> None:
        if not changes:
            console.print(Text("the same charter, byte for byte"))
            return
        for change in changes:
            console.print(_change_line(change), soft_wrap=True)
        count = len(changes)
        console.print(
            Text(
                f"{count} change{'s' if count > 1 else ''}: this is another charter, so no "
                "signature of the earlier one is valid for it"
            ),
            soft_wrap=True,
        )

    answer(document, render, as_json=as_json)


def _change_line(change: Change) -> Text:
    text = Text.assemble((change.key, "bold"), f"\n  was  {change.old}\n  is   {change.new}")
    if change.meaning:
        text.append(f"\n  {change.meaning}", style="yellow")
    return text


@app.command()
def schema() -> None:
    """Print the JSON Schema of a charter, for editors."""
    say_json(json_schema(Charter, title="fedethics charter"), indent=2)


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
        if read.documentation:
            console.print(table("Documentation", ("item", "in the charter's words"), _said(read)))
        asked = [
            (b.title, b.suite, _benchmark_bar(b), f"{b.confidence:g}", b.why)
            for b in read.ethics.benchmarks or ()
        ]
        if asked:
            heads = ("public benchmark", "suite", "bar", "confidence", "why")
            console.print(table("What the model says", heads, asked))
        signers = [
            (s.role, s.name, s.public_key[:16] or "no key yet") for s in required_signers(read)
        ]
        console.print(table("Who must sign", ("role", "name", "key"), signers))
        members = [(m.site, m.declared_records, m.public_key[:16]) for m in read.roster]
        if members:
            console.print(table("Roster", ("site", "declared records", "key"), members))

    answer(document, render, as_json=as_json)


def _said(charter: Charter) -> list[tuple[str, str]]:
    said = terms.document(charter.documentation)
    return [(key, str(text)) for key, text in said.items()] if isinstance(said, dict) else []


def _benchmark_bar(stated: BenchmarkObjective) -> str:
    if stated.bar is not None:
        return f"{stated.direction} {stated.bar:g}"
    return f"{stated.direction}, not worse by more than {stated.not_worse_than_base_by:g}"


def _terms(charter: Charter) -> list[tuple[str, str]]:
    training, evaluation = charter.privacy.training, charter.privacy.evaluation
    aggregation = charter.secagg
    return [
        ("purpose", charter.ethics.purpose),
        ("who may be harmed", charter.ethics.harmed),
        ("reference population", charter.ethics.reference_population),
        ("not measured", "; ".join(charter.ethics.left_out)),
        ("mitigation allowed", ", ".join(charter.ethics.allowed_mitigation)),
        ("release approved by", ", ".join(charter.ethics.approval_by) or "anyone who signs"),
        ("model", f"{charter.model.name} ({charter.model.sha256[:16]})"),
        ("data", charter.data.source),
        ("rounds x local steps", f"{charter.training.rounds} x {charter.training.local_steps}"),
        *([("sites that train", found)] if (found := words(charter)) else []),
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
            f"trust {evaluation.trust_mode}, {evaluation.bins} bins"
            + ("" if evaluation.finest_at is None else f", finest at {evaluation.finest_at:g}"),
        ),
        (
            "sums",
            f"of at least {aggregation.minimum_cohort} sites, up to {aggregation.colluders} "
            f"colluding, {aggregation.mode} mode"
            + ("" if aggregation.quorum is None else f"; tables of at least {aggregation.quorum}"),
        ),
    ]
