"""`fedethics data`: look at one's own records before joining. Nothing of it leaves the site."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fedethics.aggregates.registry import columns_beside
from fedethics.charter.document import load
from fedethics.cli.output import AsJson, answer, table
from fedethics.data.facts import Facts, GroupCount, gather
from fedethics.data.findings import Finding, findings
from fedethics.errors import EXIT_BAD_INPUT

app = typer.Typer(help="Check this site's own records.", no_args_is_help=True)
_STYLE = {"error": "bold red", "warning": "yellow", "note": ""}
_LOCAL = "These counts are exact and of this site alone: for its own eyes, never to be sent."

_BETWEEN = " / "


@app.callback()
def data() -> None:
    """Check this site's own records."""


@app.command()
def check(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The site's file: CSV or JSON lines.")
    ],
    charter: Annotated[Path, typer.Option("--charter", "-c", help="The charter to read it by.")],
    annotators: Annotated[
        str,
        typer.Option(
            help="Columns with one annotator's label each, separated by commas; else the charter's."
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Read a file as a run would and say what is wrong, missing, repeated or unbalanced.

    Exit code 2 if a run would refuse the file, else 0, warnings or not.
    """
    agreed = load(charter)
    terms = agreed.data
    columns = tuple(filter(None, (name.strip() for name in annotators.split(","))))
    facts = gather(
        file,
        terms,
        task=agreed.model.task,
        annotators=columns,
        beside=columns_beside(agreed),
        annotation=agreed.annotation,
    )
    found = findings(facts, terms)

    def render(console: Console) -> None:
        for shown in _tables(facts):
            console.print(shown)
        for finding in found:
            console.print(
                Text(f"{finding.weight}: {finding.sentence}", style=_STYLE[finding.weight])
            )
        console.print(Text(_verdict(facts), style="bold"))
        console.print(Text(_LOCAL))

    answer(_document(facts, found), render, as_json=as_json)
    if facts.errors:
        raise typer.Exit(EXIT_BAD_INPUT)


def _tables(facts: Facts) -> Iterator[object]:
    if facts.groups:
        kinds = "of these positive"
        if facts.groups[0].train_positive is None:
            kinds = f"of these {_BETWEEN.join(facts.classes)}".strip()
        columns = ("feature", "group", "training", kinds, "held-out", kinds)
        yield table("Groups at this site", columns, map(_group_row, facts.groups))
    gaps = [
        (one.column, one.empty, one.not_recorded)
        for one in facts.missing
        if one.empty + one.not_recorded
    ]
    if gaps:
        yield table(f"Missing in {facts.rows} rows", ("column", "empty", "not recorded"), gaps)
    if facts.agreement:
        rows = [(name, one.items, _spelled(one.alpha())) for name, one in facts.agreement.items()]
        yield table("Agreement of annotators", ("among", "records", "Krippendorff's alpha"), rows)


def _group_row(count: GroupCount) -> tuple[str | int, ...]:
    train, held_out = (
        _BETWEEN.join(map(str, classes)) if positive is None else positive
        for positive, classes in (
            (count.train_positive, count.train_classes),
            (count.held_out_positive, count.held_out_classes),
        )
    )
    return count.feature, count.group, count.train, train, count.held_out, held_out


def _verdict(facts: Facts) -> str:
    if facts.errors:
        return "A run would refuse this file."
    persons = ""
    if facts.ids:
        persons = f" The ids of the file are {facts.ids}, of {facts.persons} persons."
    return f"A run would use {facts.records} of {facts.rows} rows.{persons}"


def _document(facts: Facts, found: tuple[Finding, ...]) -> dict[str, object]:
    return {
        "usable": not facts.errors,
        "rows": facts.rows,
        "records": facts.records,
        "left-out": dict(facts.dropped),
        "ids": facts.ids,
        "persons": facts.persons,
        "missing": [dataclasses.asdict(one) for one in facts.missing],
        "groups": [dataclasses.asdict(one) for one in facts.groups],
        "repeats": dataclasses.asdict(facts.repeats) if facts.repeats else None,
        "agreement": {
            name: {"records": one.items, "alpha": _number(one.alpha())}
            for name, one in facts.agreement.items()
        },
        "findings": [dataclasses.asdict(one) for one in found],
    }


def _number(alpha: float) -> float | None:
    return None if math.isnan(alpha) else alpha


def _spelled(alpha: float) -> str:
    return "no value" if math.isnan(alpha) else f"{alpha:.3f}"
