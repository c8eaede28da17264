"""`fedethics data`: look at one's own records before joining. Nothing of it leaves the site."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fedethics import texts
from fedethics.aggregates.registry import columns_beside
from fedethics.charter.amended import Change, amended, fragment
from fedethics.charter.amended import patch as as_patch
from fedethics.charter.document import load, read_toml
from fedethics.cli import labels
from fedethics.cli.output import AsJson, Reading, answer, table, write_new
from fedethics.cli.personal import personal
from fedethics.cli.similar import similar
from fedethics.cli.suspects import suspects
from fedethics.data.admitted import merged
from fedethics.data.facts import Facts, GroupCount, gather
from fedethics.data.file_terms import DataFile, terms_of
from fedethics.data.findings import Finding, findings
from fedethics.data.personal_terms import found_in
from fedethics.errors import EXIT_BAD_INPUT, CharterError, DataError
from fedethics.policy.model import load_policy
from fedethics.storage import files

app = typer.Typer(help="Check this site's own records.", no_args_is_help=True)
_STYLE = {"error": "bold red", "warning": "yellow", "note": ""}
_LOCAL = "These counts are exact and describe this site alone. Do not send them to anyone."

_BETWEEN = " / "
# Of one column, and of one value, that a screen has room for.
_MOST_VALUES, _LONGEST_VALUE = 20, 40


@app.callback()
def data() -> None:
    """Check this site's own records."""


app.command("export")(labels.export)
app.command("import")(labels.bring_in)
app.command()(similar)
app.command()(suspects)
app.command()(personal)


@app.command()
def check(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV, JSON lines, Parquet or .xlsx.")
    ],
    charter: Annotated[Path, typer.Option("--charter", "-c", help="The charter to read it by.")],
    annotators: Annotated[
        str,
        typer.Option(
            help="Columns of one annotator each, separated by commas; default: the charter's."
        ),
    ] = "",
    patch: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT", help="Write the changes of the charter that would admit the file."
        ),
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(help="The site's policy: its [personal] holds for the texts, as in a run."),
    ] = None,
    read: Reading = None,
    as_json: AsJson = False,
) -> None:
    """Read a file as a run would and say what is wrong, missing, repeated or unbalanced.

    Values that a run would refuse are shown as they are in the file, and --patch writes some of
    them: for people at this site only. Exit code 2 if a run would refuse the file, else 0, even
    with warnings.
    """
    agreed = load(charter)
    terms = agreed.data
    personal = load_policy(policy, at_site=False).personal if policy else None
    facts = gather(
        DataFile(file, terms_of(read or ()), personal),
        terms,
        task=agreed.model.task,
        annotators=tuple(filter(None, (name.strip() for name in annotators.split(",")))),
        beside=columns_beside(agreed),
        annotation=agreed.annotation,
    )
    found = findings(facts, terms)
    changes = merged([change for bad in facts.bad for change in bad.changes], terms)
    wrote = _write_patch(patch, charter, changes) if patch else ""

    def render(console: Console) -> None:
        for shown in _tables(facts):
            console.print(shown)
        for one in found:
            console.print(Text(f"{one.weight}: {one.sentence}", style=_STYLE[one.weight]))
        told = found_in(facts.personal, personal) if personal else ""
        for said in filter(None, (wrote, told)):
            console.print(Text(said), soft_wrap=True)
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
    if facts.bad:
        heads = ("column", "value", "rows", "what is wrong", "a charter would admit it with")
        yield table("Values that a run would refuse", heads, _bad_rows(facts))
    if facts.dropped:
        yield table("Rows left out", ("why", "rows"), facts.dropped.items())
    if gaps:
        yield table(f"Missing in {facts.rows} rows", ("column", "empty", "not recorded"), gaps)
    if facts.agreement:
        rows = [(name, one.items, _spelled(one.alpha())) for name, one in facts.agreement.items()]
        yield table("Agreement of annotators", ("among", "records", "Krippendorff's alpha"), rows)


def _bad_rows(facts: Facts) -> Iterator[tuple[str | int, ...]]:
    for column, values in groupby(facts.bad, key=lambda bad: bad.column):
        listed = list(values)
        for bad in listed[:_MOST_VALUES]:
            admits = "; ".join(f"{change.header} {change.line}" for change in bad.changes)
            yield column, _brief(bad.value), bad.count, bad.why, admits or "nothing: mend the file"
        if rest := listed[_MOST_VALUES:]:
            yield column, f"{len(rest)} more", sum(bad.count for bad in rest), "", ""


def _brief(value: str) -> str:
    shown = texts.printed(value, one_line=True)
    return shown if len(shown) <= _LONGEST_VALUE else f"{shown[: _LONGEST_VALUE - 3]}..."


def _write_patch(out: Path, charter: Path, changes: tuple[Change, ...]) -> str:
    """Write the changes as a patch of the charter's file, or as lines where it is no TOML."""
    if not changes:
        return "no change of the charter would admit more of the file; no patch was written"
    by_hand, left = fragment(changes), ""
    if charter.suffix == ".json":
        text, how = by_hand, "lines for the charter's TOML file"
    else:
        before = charter.read_text(encoding="utf-8")
        try:
            after = amended(before, changes)
            text, how = as_patch(before, after, name=charter.name), f"git apply {out}"
            left = _faults(after, charter)
        except CharterError as error:
            text, how = by_hand, f"lines to put in by hand, since {error}"
    write_new(out, text, DataError, mode=files.PRIVATE)  # it holds values of records
    return (
        f"wrote {out} ({how}). It holds values of this file: look at each line before anybody else "
        f"sees it; a changed charter is another one, for all to sign anew{left}"
    )


def _faults(after: str, charter: Path) -> str:
    """Say what would be wrong with the changed charter, since groups go with values."""
    try:
        read_toml(after.encode("utf-8"), charter)
    except CharterError as error:
        return f". The changed charter needs more by hand: {error}"
    return ""


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
        "with-personal-data": facts.personal,
        "ids": facts.ids,
        "persons": facts.persons,
        "refused-values": [
            {
                "column": bad.column,
                "value": bad.value,
                "rows": bad.count,
                "why": bad.why,
                "changes": [f"{change.header} {change.line}" for change in bad.changes],
            }
            for bad in facts.bad
        ],
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
