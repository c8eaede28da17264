"""`fedethics new`: from a file of one's own to a federation that can be simulated."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fedethics.charter.document import INDUSTRIES
from fedethics.cli.output import AsJson, Reading, answer
from fedethics.commands import suggested
from fedethics.data.file_terms import DataFile, terms_of
from fedethics.drafting import folder
from fedethics.drafting.base_model import EMBEDDED, in_folder
from fedethics.drafting.proposal import Wish, propose
from fedethics.drafting.source import of_file
from fedethics.errors import CharterError, DataError
from fedethics.terms import NAME

_NO_NAME = re.compile(r"[^a-z0-9]+")


def new(
    data: Annotated[
        Path, typer.Option(metavar="FILE", help="Your file: CSV, JSON lines, Parquet or .xlsx.")
    ],
    label: Annotated[str, typer.Option(metavar="COLUMN", help="The column to predict.")],
    drop_unlabelled: Annotated[
        bool, typer.Option("--drop-unlabelled", help="Leave out records without a label.")
    ] = False,
    text: Annotated[
        str, typer.Option(metavar="COLUMNS", help="Columns of free text, separated by commas.")
    ] = "",
    sensitive: Annotated[
        str,
        typer.Option(
            metavar="COLUMNS",
            help="Columns whose groups are compared, separated by commas; default: found by name.",
        ),
    ] = "",
    split: Annotated[
        int | None, typer.Option(metavar="N", help="Divide the records among N sites by hash. [4]")
    ] = None,
    sites: Annotated[
        str, typer.Option(metavar="COLUMN", help="Make one site of each value of this column.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The folder to write; default: the name.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the charter; default: the file's name.")] = "",
    industry: Annotated[str, typer.Option(help=f"One of: {', '.join(INDUSTRIES)}.")] = "healthcare",
    model: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the base model; by default the embedded one."),
    ] = None,
    read: Reading = None,
    as_json: AsJson = False,
) -> None:
    """Draft a charter, a scenario and a policy from your file, ready for `fedethics simulate`.

    Ranges and values are read from the records. For a simulation this is fine; set them from your
    knowledge before real sites sign. Nothing leaves this machine, and nothing is overwritten.
    """
    if split is not None and sites:
        raise DataError("give --split or --sites, not both. Nothing was written")
    called = _name(name, data, industry)
    wish = Wish(
        label=label, drop_unlabelled=drop_unlabelled, text=_columns(text),
        sensitive=_columns(sensitive),
        split=4 if split is None else split, sites=sites, name=called, industry=industry,
        model=EMBEDDED if model is None else in_folder(model),
    )  # fmt: skip
    _write(DataFile(data, terms_of(read or ())), wish, out or Path(called), as_json=as_json)


def _name(name: str, data: Path, industry: str) -> str:
    if industry not in INDUSTRIES:
        raise CharterError(
            f"--industry {industry!r} is not one of {', '.join(INDUSTRIES)}; nothing was written"
        )
    called = name or _NO_NAME.sub("-", data.stem.lower()).strip("-")[:60] or "federation"
    if not re.fullmatch(NAME, called):
        raise CharterError(
            f"--name {called!r}: small letters, digits and hyphens only, 63 at most; nothing was "
            "written"
        )
    return called


def _write(data: DataFile, wish: Wish, target: Path, *, as_json: bool) -> None:
    proposal = propose(wish, of_file(data, wish.needed))
    written = folder.write(proposal, target)
    sizes = written.sizes
    document = {
        "written": str(target),
        "records": proposal.records,
        "sites": {one.site: one.training + one.held_out for one in sizes},
        "columns": {found.terms.name: found.terms.kind for found in proposal.columns},
        "not-read": {one.name: one.why for one in proposal.left_out},
        "sensitive": [feature.terms.name for feature in proposal.features],
        "verdicts-foreseen": list(written.verdicts),
    }
    lines = (
        f"wrote {target}: {proposal.records} records at {len(sizes)} sites, "
        f"{len(proposal.columns)} columns, {len(proposal.left_out)} not read",
        f"{target / folder.README} lists every decision",
        *written.verdicts,
        f"next: {suggested('simulate', target)}",
    )
    answer(document, lambda console: _say(console, lines), as_json=as_json)


def _columns(given: str) -> tuple[str, ...]:
    return tuple(filter(None, (name.strip() for name in given.split(","))))


def _say(console: Console, lines: tuple[str, ...]) -> None:
    console.print(Text("\n".join(lines)), soft_wrap=True)
