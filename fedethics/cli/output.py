r"""One way to answer: a table for people, or one JSON document for programs; and how to ask.

Everything that a command prints goes through here, so that no text of a stranger reaches the
terminal as more than text: no markup, no escape sequence, no character that turns or hides.

The way to the terminal: what it cannot show is spelled, and a reader that closed the pipe is no
error.

A terminal or log may know ASCII or Latin-1 only, a file name may hold bytes that are no text, and
`head` closes a pipe before all was written. None of them may end a command in a traceback, or with
half of its work undone. What cannot be shown is spelled as in a Python string: `\xe4`, `\udcff`.

What commands on a home directory share: the option that names it, and how a person is asked.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Annotated, TextIO

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from fedethics import texts
from fedethics.errors import EXIT_REFUSED, FedethicsError, LedgerError
from fedethics.storage import files
from fedethics.texts import event_line as event_line
from fedethics.texts import in_words as in_words
from fedethics.texts import readable as readable

_AS_JSON = "fedethics-as-json"


Reading = Annotated[
    list[str] | None,
    typer.Option(
        "--read",
        metavar="KEY=VALUE",
        help="How the file is read, as [data] of site.toml says: encoding=windows-1252, "
        "delimiter=semicolon, decimal-mark=comma, thousands-mark=point, date-format=%d/%m/%Y, "
        "sheet=NAME, format=parquet, remove-invisible=true. Repeat for more.",
    ),
]


def plain_form(read: Iterable[str] | None) -> list[str]:
    """Return what to say of a new file where the one it was made of was read in a form of its own.

    Args:
        read: the options `--read`.
    """
    keys = sorted(one.partition("=")[0] for one in read or ())
    if not keys:
        return []
    return [
        "The new file is UTF-8, with commas between cells and points in numbers: read it without "
        f"{', '.join(keys)}, also in [data] of site.toml."
    ]


def prepare() -> None:
    """Let this process's output spell what it cannot show; call this before anything is printed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started this: there is nobody to tell
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        else:
            reconfigure = getattr(stream, "reconfigure", None)
            if reconfigure is not None:
                reconfigure(errors="backslashreplace")


def showable_json(text: str, stream: TextIO) -> str:
    """Return JSON whose every character `stream` can show; a reader gets the same document."""
    # A stream that is not of the system (a test's) has no encoding and takes everything.
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, _AS_JSON).decode(encoding)


def let_go() -> bool:
    """Write out what is left, and forget what nobody takes; return whether all was taken.

    Without this, Python itself would complain at its end, after our last word.
    """
    whole = True
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        try:
            stream.flush()
        except (OSError, ValueError):
            whole = whole and name != "stdout"
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
    return whole


def _as_json(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    refused = error.object[error.start : error.end]
    return json.dumps(refused)[1:-1], error.end


codecs.register_error(_AS_JSON, _as_json)


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
LedgerPath = Annotated[
    Path, typer.Argument(metavar="LEDGER", help="The ledger file, or the site's directory.")
]


class Terminal(Console):
    """A console that prints any text as plain text; style comes from `rich.text.Text`."""

    def __init__(self, *, stderr: bool = False, file: IO[str] | None = None) -> None:
        super().__init__(stderr=stderr, file=file, markup=False, emoji=False, highlight=False)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Yield the segments with what `texts.printed` spells spelled; rich's own codes stay."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=texts.printed(segment.text))


def say(text: str, *, err: bool = False) -> None:
    """Print text of one or several lines."""
    # The stream is named, since click takes another one in its place where this one knows ASCII.
    typer.echo(texts.printed(text), file=sys.stderr if err else sys.stdout)


def say_json(document: object, *, indent: int | None = None) -> None:
    """Print one JSON document, by default on one line."""
    text = texts.json_text(document, indent=indent)
    typer.echo(showable_json(text, sys.stdout), file=sys.stdout)


def answer(
    document: Mapping[str, object], render: Callable[[Console], None], *, as_json: bool
) -> None:
    """Print the document as JSON, or let `render` show it."""
    if as_json:
        say_json(document, indent=2)
    else:
        render(Terminal())


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> Table:
    """Return a table; numbers stand to the right, and nothing in a cell is markup."""
    shown = Table(title=texts.printed(title), title_justify="left", title_style="bold")
    listed = [[_cell(value) for value in row] for row in rows]
    for index, column in enumerate(columns):
        numeric = all(_is_number(row[index].plain) for row in listed)
        shown.add_column(column, justify="right" if numeric and listed else "left")
    for row in listed:
        shown.add_row(*row)
    return shown


def write_new(
    path: Path, text: str, error: type[FedethicsError], *, mode: int = files.PUBLIC
) -> None:
    """Write a file for people to edit, whole; one that exists is left as it is.

    Raises:
        FedethicsError: of the given class, when it exists or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.create(path, text.encode("utf-8"), mode=mode)
    except FileExistsError as problem:
        raise error(f"{path} exists; it was not changed") from problem
    except OSError as problem:
        raise error(f"{path} cannot be written: {problem.strerror}") from problem


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
    # Spelled before the table measures it, so that its columns stay straight.
    return Text(texts.printed(readable(value) if isinstance(value, float) else str(value)))


def _is_number(text: str) -> bool:
    return (
        text in {"infinite", "-", ""}
        or text.replace(",", "").replace(".", "").replace("e-", "").replace("e+", "").isdigit()
    )


Home = Annotated[Path, typer.Option("--home", help="The home directory of this site.")]
CoordinatorHome = Annotated[Path, typer.Option("--home", help="The coordinator's home directory.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; for scripts.")]


def agreed(question: str, *, yes: bool) -> None:
    """Ask, unless `yes`; end with exit code 5 unless the answer is yes.

    Raises:
        typer.Exit: the person said no, or there is nobody to ask.
    """
    if yes:
        return
    try:
        said = typer.confirm(texts.printed(question), default=False, err=True)
    except typer.Abort:
        said = False
    if not said:
        say("the answer was not yes: nothing was changed", err=True)
        raise typer.Exit(EXIT_REFUSED)
