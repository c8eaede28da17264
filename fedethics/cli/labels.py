"""`fedethics data export` and `data import`: records out to annotators, and their labels in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fedethics.annotation.importing import Imported, from_columns, from_tool
from fedethics.annotation.records import annotation_of, question_of, tasks
from fedethics.annotation.registry import CSV, TOOLS, find_tool
from fedethics.annotation.task_key import TaskKey
from fedethics.annotation.tool import Task, json_line
from fedethics.charter.document import load
from fedethics.charter.model import Charter
from fedethics.cli.output import AsJson, Reading, answer, table
from fedethics.data.file_terms import DataFile, terms_of
from fedethics.data.json_lines import line_of
from fedethics.errors import DataError
from fedethics.simulation.partition import write_csv
from fedethics.storage import files

_LOCAL = "These files hold records and who labelled them. Keep them, and the tool, at this site."
_CharterFile = Annotated[
    Path, typer.Option("--charter", "-c", help="The charter, with its [annotation].")
]


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="This site's records.")],
    charter: _CharterFile,
    to: Annotated[
        str,
        typer.Option(
            help=f"One of: {', '.join(name for name, one in TOOLS.items() if one.exports)}."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")],
    read: Reading = None,
    as_json: AsJson = False,
) -> None:
    """Write tasks and a labelling configuration for a tool, from the records and the charter.

    A task is the text that the model reads, and a name by which the label finds its record again.
    The key of the names is kept beside FILE, as FILE.task-key: `data import` needs it.
    """
    agreed, tool = load(charter), find_tool(to)
    if out.exists():
        raise DataError(f"{out} exists; it was not changed. Choose another --out")
    settings = tool.config(question_of(agreed))
    key = TaskKey.beside(file)
    counted = _Counted(tasks(DataFile(file, terms_of(read or ())), agreed, key))
    name, pieces = tool.tasks(counted)
    partial = out.with_name(f"{out.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(mode=files.PRIVATE | 0o100, parents=True)
        for other, text in settings.items():
            files.create(partial / other, text.encode("utf-8"))
        with files.written(partial / name) as stream:
            stream.writelines(pieces)
        if not counted.number:
            raise DataError(f"data file {file} has no record to label. Nothing was written")
        key.keep()
        files.move(partial, out)
    except OSError as error:
        key.discard()
        raise DataError(f"{out} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    written = sorted([name, *settings])
    answer(
        {"written": str(out), "tasks": counted.number, "files": written},
        lambda console: _say(
            console,
            f"wrote {out}: {counted.number} tasks ({', '.join(written)})",
            f"The key of their names is {key.path}; `data import` needs it beside the records.",
            _LOCAL,
        ),
        as_json=as_json,
    )


def bring_in(
    exports: Annotated[
        list[Path], typer.Argument(metavar="EXPORT...", help="What the tool exported.")
    ],
    charter: _CharterFile,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The file to write: .csv, or .jsonl for free text.")
    ],
    tool: Annotated[str, typer.Option("--from", help=f"One of: {', '.join((*TOOLS, CSV))}.")],
    records: Annotated[
        Path | None,
        typer.Option(help="The records that were labelled; with --from csv, the export itself."),
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="Every decision; default: beside OUT, .decisions.jsonl.")
    ] = None,
    read: Reading = None,
    as_json: AsJson = False,
) -> None:
    """Join annotators' labels to their records, and decide each record's label as the charter says.

    OUT has a column for each annotator and, with `adjudication` in the charter, the label. Every
    decision is in the log with its reason.
    """
    agreed = load(charter)
    key = TaskKey.beside(records or exports[0])
    found = _read(exports, agreed, tool=tool, records=records, read=tuple(read or ()), key=key)
    kept = log or out.with_suffix(".decisions.jsonl")
    if existing := [path for path in (out, kept) if path.exists()]:
        raise DataError(f"{existing[0]} exists; nothing was changed. Choose another name")
    if not found.rows:
        raise DataError("no record was decided, so none would be left. Nothing was written")
    content = _content(found, agreed)
    key.keep()
    try:
        files.create(kept, "".join(map(json_line, found.decisions)).encode("utf-8"))
        files.create(out, content)
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error.strerror}") from error
    document = {
        "written": str(out), "log": str(kept), "records": len(found.rows),
        "annotators": found.annotators, "decided": dict(found.counts),
        "method": annotation_of(agreed).adjudication,
    }  # fmt: skip

    def render(console: Console) -> None:
        rows = sorted(found.counts.items())
        console.print(table("What became of the records", ("how", "records"), rows))
        _say(console, f"wrote {out}: {len(found.rows)} records; every decision: {kept}", _LOCAL)

    answer(document, render, as_json=as_json)


def _read(
    exports: list[Path], charter: Charter, *, tool: str, records: Path | None,
    read: tuple[str, ...], key: TaskKey,
) -> Imported:  # fmt: skip
    terms = terms_of(read)
    if tool == CSV:
        if len(exports) != 1 or records not in (None, exports[0]):
            raise DataError("--from csv: name one file, with a column for each annotator")
        return from_columns(DataFile(exports[0], terms), charter, key=key)
    if records is None:
        raise DataError("--records: name the file of the records that were labelled")
    return from_tool(find_tool(tool), exports, DataFile(records, terms), charter, key=key)


def _content(found: Imported, charter: Charter) -> bytes:
    if charter.data.content is None:
        return write_csv(found.rows, tuple(found.rows[0]))
    lines = (f"{line_of(row, charter.data.content)}\n" for row in found.rows)
    return "".join(lines).encode("utf-8")


class _Counted:
    """Tasks, counted as they pass."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._tasks = tasks
        self.number = 0

    def __iter__(self) -> Iterator[Task]:
        for task in self._tasks:
            self.number += 1
            yield task


def _say(console: Console, *lines: str) -> None:
    console.print(Text("\n".join(lines)), soft_wrap=True)
