"""One way to answer: a table for people, or one JSON document for programs."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fedethics.errors import FedethicsError, LedgerError

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
LedgerPath = Annotated[
    Path, typer.Argument(metavar="LEDGER", help="The ledger file, or the site's directory.")
]


def answer(
    document: Mapping[str, object], render: Callable[[Console], None], *, as_json: bool
) -> None:
    """Print the document as JSON, or let `render` show it."""
    if as_json:
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        render(Console())


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> Table:
    """Return a table; numbers stand to the right, and nothing in a cell is markup."""
    shown = Table(title=title, title_justify="left", title_style="bold")
    listed = [[_cell(value) for value in row] for row in rows]
    for index, column in enumerate(columns):
        numeric = all(_is_number(row[index].plain) for row in listed)
        shown.add_column(column, justify="right" if numeric and listed else "left")
    for row in listed:
        shown.add_row(*row)
    return shown


def write_new(path: Path, text: str, error: type[FedethicsError]) -> None:
    """Write a file for people to edit (mode 0644); one that exists is left as it is.

    Raises:
        FedethicsError: of the given class, when it exists or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as problem:
        raise error(f"{path} exists; it was left as it is") from problem
    except OSError as problem:
        raise error(f"{path} cannot be written: {problem.strerror}") from problem


def figure(value: float, digits: int = 4) -> str:
    """Return a number as people read it; an infinite epsilon is spelled out."""
    return "infinite" if math.isinf(value) else f"{value:.{digits}g}"


def ledger_file(path: Path) -> Path:
    """Return the ledger meant by a file or by a site's directory.

    Raises:
        LedgerError: there is none.
    """
    found = path / "ledger.db" if path.is_dir() else path
    if not found.is_file():
        raise LedgerError(f"there is no ledger at {found}")
    return found


def _cell(value: object) -> Text:
    return Text(figure(value) if isinstance(value, float) else str(value))


def _is_number(text: str) -> bool:
    return (
        text in {"infinite", "-", ""}
        or text.replace(",", "").replace(".", "").replace("e-", "").replace("e+", "").isdigit()
    )
