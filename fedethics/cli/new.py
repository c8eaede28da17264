"""`fedethics new`: from a file of one's own to a federation that can be simulated."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fedethics import texts
from fedethics.charter.document import INDUSTRIES
from fedethics.cli.output import AsJson, Reading, Yes, answer
from fedethics.commands import suggested
from fedethics.data.file_terms import DataFile, terms_of
from fedethics.drafting import folder
from fedethics.drafting.base_model import in_folder
from fedethics.drafting.content import recognised
from fedethics.drafting.deciding import Decisions
from fedethics.drafting.file_reading import seen
from fedethics.drafting.proposal import Proposal, Wish, person_column, propose
from fedethics.drafting.source import Source, data_files, first_row, of_files
from fedethics.drafting.tasks import TASKS
from fedethics.errors import CharterError, DataError
from fedethics.terms import NAME

_NO_NAME = re.compile(r"[^a-z0-9]+")
# A template is a page of text.
_MOST_TEMPLATE = 100_000


_Data = Annotated[
    list[Path],
    typer.Option(
        metavar="FILE",
        help="Your file: CSV, JSON lines, Parquet or .xlsx. Several, or a folder: one a site.",
    ),
]
_Label = Annotated[
    str, typer.Option(metavar="COLUMN", help="The column to predict; none for free text.")
]
_Task = Annotated[
    str,
    typer.Option(
        metavar="TASK", help=f"One of: {', '.join(TASKS)}; by default what the fields say."
    ),
]
_DropUnlabelled = Annotated[
    bool, typer.Option("--drop-unlabelled", help="Leave out records without a label.")
]
_TextColumns = Annotated[
    str, typer.Option(metavar="COLUMNS", help="Columns of free text, separated by commas.")
]
_ReadColumns = Annotated[
    str, typer.Option(metavar="COLUMNS", help="What the model may read; default: all of use.")
]
_Sensitive = Annotated[
    str,
    typer.Option(
        metavar="COLUMNS",
        help="Columns whose groups are compared, separated by commas; default: found by name. Free "
        "text may have none: the charter then says why (ethics.without-groups).",
    ),
]
_Person = Annotated[
    str, typer.Option(metavar="COLUMN", help="Whose record it is, if a person has several.")
]
_Annotators = Annotated[
    str,
    typer.Option(metavar="COLUMNS", help="Columns with one annotator's label each, by commas."),
]
_Split = Annotated[
    int | None, typer.Option(metavar="N", help="Divide the records among N sites by hash. [4]")
]
_SitesColumn = Annotated[
    str, typer.Option(metavar="COLUMN", help="Make one site of each value of this column.")
]
_Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="The folder to write; default: the name.")
]
_Name = Annotated[str, typer.Option(help="Name of the charter; default: the file's name.")]
_Industry = Annotated[str, typer.Option(help=f"One of: {', '.join(INDUSTRIES)}.")]
_Model = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder of the base model; by default the embedded one."),
]
_ChatTemplate = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Template of conversations; default: the model's own."),
]


def new(
    data: _Data,
    label: _Label = "",
    task: _Task = "",
    drop_unlabelled: _DropUnlabelled = False,
    text: _TextColumns = "",
    columns: _ReadColumns = "",
    sensitive: _Sensitive = "",
    person: _Person = "",
    annotators: _Annotators = "",
    split: _Split = None,
    sites: _SitesColumn = "",
    out: _Out = None,
    name: _Name = "",
    industry: _Industry = "healthcare",
    model: _Model = None,
    chat_template: _ChatTemplate = None,
    read: Reading = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Draft a charter, a scenario and a policy from your file, ready for `fedethics simulate`.

    Ranges and values are read from the records. For a simulation this is fine; set them from your
    knowledge before real sites sign. At most three questions are asked, on a terminal only; else
    what is proposed is taken and marked. Nothing leaves this machine, and nothing is overwritten.
    """
    if split is not None and sites:
        raise DataError("give --split or --sites, not both. Nothing was written")
    given = data_files(data)
    called = _name(name, data[0], industry)
    decisions = Decisions(_ask if sys.stdin.isatty() and not (yes or as_json) else None)
    read_as = _read_as([DataFile(one, terms_of(read or ())) for one in given], decisions)
    named = tuple(_columns(text))
    learnt, content = recognised(first_row(read_as[0]), label=label, task=task, text=named)
    wish = Wish(
        label=label, task=TASKS[learnt], content=content, drop_unlabelled=drop_unlabelled,
        text=named if content is None else (), columns=_columns(columns),
        sensitive=_columns(sensitive), person=person, annotators=_columns(annotators),
        split=4 if split is None else split, sites=sites, name=called, industry=industry,
        chat_template=_template(chat_template, learnt),
        own_model=None if model is None else in_folder(model),
    )  # fmt: skip
    source = of_files(
        read_as, wish.needed, pooled=bool(sites) or split is not None, content=content
    )
    wish = _decided(wish, source, decisions)
    _write(propose(wish, source), out or Path(called), as_json=as_json)


def _ask(question: str) -> bool:
    return typer.confirm(texts.printed(question), default=True, err=True)


def _read_as(given: list[DataFile], decisions: Decisions) -> tuple[DataFile, ...]:
    """Return the files with how each is read; where it is not in plain form, a person sees that."""
    found = [(file, seen(file)) for file in given]
    said: dict[str, list[str]] = {}
    for file, one in found:
        if one.said:
            said.setdefault(one.said, []).append(file.path.name)
    if said:
        told = "; ".join(f"{', '.join(names)}: {how}" for how, names in said.items())
        decisions.require(
            f"Read the files so? {told}.",
            otherwise="say how a file is read: --read KEY=VALUE",
        )
    return tuple(DataFile(file.path, one.terms) for file, one in found)


def _decided(wish: Wish, source: Source, decisions: Decisions) -> Wish:
    """Return the wish with what a person decides of unlabelled records, and of persons."""
    rows = list(source.each())
    empty = sum(not row[wish.label] for row in rows) if wish.label else 0
    if 0 < empty < len(rows) and not wish.drop_unlabelled:
        decisions.require(
            f"{empty} of {len(rows)} records have no label: leave them out?",
            otherwise=f"label column {wish.label} is empty in {empty} records; fill them in",
        )
        wish = replace(wish, drop_unlabelled=True)
    if not wish.person and (found := person_column(rows, taken=wish.needed)):
        column, persons = found
        if decisions(
            f"{column} has {persons} ids in {len(rows)} records. Is each id a person, who is then "
            "protected with all records?"
        ):
            wish = replace(wish, person=column)
    return replace(wish, decided=tuple(decisions.taken))


def _template(path: Path | None, task: str) -> str:
    if path is None:
        return ""
    if task not in ("sft", "preference"):
        raise DataError(f"--chat-template: task {task!r} does not read it. Nothing was written")
    try:
        said = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--chat-template {path} cannot be read. Nothing was written") from error
    if not said.strip() or len(said) > _MOST_TEMPLATE:
        raise DataError(
            f"--chat-template {path} is empty, or longer than {_MOST_TEMPLATE} characters. Nothing "
            "was written"
        )
    return said


def _name(name: str, data: Path, industry: str) -> str:
    if industry not in INDUSTRIES:
        raise CharterError(
            f"--industry {industry!r} is not one of {', '.join(INDUSTRIES)}; nothing was written"
        )
    plain = _NO_NAME.sub("-", data.resolve().stem.lower()).strip("-")
    called = name or plain[:60] or "federation"
    if not re.fullmatch(NAME, called):
        raise CharterError(
            f"--name {called!r}: small letters, digits and hyphens only, 63 at most; nothing was "
            "written"
        )
    return called


def _write(proposal: Proposal, target: Path, *, as_json: bool) -> None:
    written = folder.write(proposal, target)
    sizes = written.sizes
    document = {
        "written": str(target),
        "records": proposal.records,
        "sites": {one.site: one.training + one.held_out for one in sizes},
        "columns": {found.terms.name: found.terms.kind for found in proposal.columns},
        "not-read": {one.name: one.why for one in proposal.left_out},
        "task": proposal.wish.task.name,
        "person": proposal.wish.person,
        "decided": [
            {"question": one.question, "yes": one.yes, "asked": one.asked}
            for one in proposal.wish.decided
        ],
        "left-out": {one.site: dict(one.left_out) for one in sizes if one.left_out},
        "sensitive": [feature.terms.name for feature in proposal.features],
        "verdicts-foreseen": list(written.verdicts),
    }
    lines = (
        f"the file is taken to hold {proposal.wish.task.told} (task {proposal.wish.task.name})",
        *(one.said for one in proposal.wish.decided if not one.asked),
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
