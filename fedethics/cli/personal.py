"""`fedethics data personal`: personal data in free text, found and redacted at the site."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fedethics.annotation.tool import json_line
from fedethics.charter.data_terms import DataTerms
from fedethics.charter.document import load
from fedethics.cli.output import AsJson, Reading, answer, plain_form, table
from fedethics.data.file_terms import DataFile, terms_of
from fedethics.data.forms import read_content
from fedethics.data.json_lines import line_of
from fedethics.data.reading import raw_rows
from fedethics.data.records import CellProblem
from fedethics.errors import EXIT_BAD_INPUT, DataError
from fedethics.quality.personal_data import KINDS, Kind, Mark, Placeholders, own_kind
from fedethics.simulation.partition import Row, write_csv
from fedethics.storage import files

_NOT_ANONYMOUS = (
    "A text without these forms is not anonymous: names, places and events are not looked for."
)
_MOST_SHOWN = 20


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    line: int
    column: str
    mark: Mark


def personal(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV, JSON lines, Parquet or .xlsx.")
    ],
    charter: Annotated[Path, typer.Option("--charter", "-c", help="The charter to read it by.")],
    kind: Annotated[
        list[str] | None,
        typer.Option(help=f"Of {', '.join(KINDS)}; repeat for more. Default: all."),
    ] = None,
    record_number: Annotated[
        str,
        typer.Option(
            metavar="REGEX", help="The form of this site's own record numbers, as MRN[0-9]{7}."
        ),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the file with placeholders for what was found."),
    ] = None,
    read: Reading = None,
    as_json: AsJson = False,
) -> None:
    """Find identity numbers, mail, phones and dates of birth in free text, and redact them.

    No value is printed. Exit code 2 if something was found and stays in the file.
    """
    terms = load(charter).data
    source, columns = DataFile(file, terms_of(read or ())), _text_fields(terms)
    kinds = _kinds(kind or (), record_number)
    log = out.with_suffix(".redactions.jsonl") if out else None
    if existing := [path for path in (out, log) if path and path.exists()]:
        raise DataError(f"{existing[0]} exists; nothing was changed. Choose another name")
    if out and terms.content is not None and terms.content.form == "messages":
        raise DataError("--out: turns of a conversation are checked, but cannot be redacted yet")
    rows, found = _search(source, terms, columns, kinds)
    if out and log:
        _write(out, log, rows, found, terms)

    def render(console: Console) -> None:
        shown = [(one.line, one.column, one.mark.kind, one.mark.begin + 1) for one in found]
        if shown:
            heads = ("line", "column", "kind", "at character")
            console.print(table("Personal data in free text", heads, shown[:_MOST_SHOWN]))
        said = [*_said(found, len(rows), out, log), *(plain_form(read) if out else ())]
        console.print(Text("\n".join(said)), soft_wrap=True)

    answer(_document(found, len(rows), out), render, as_json=as_json)
    if found and out is None:
        raise typer.Exit(EXIT_BAD_INPUT)


def _text_fields(terms: DataTerms) -> tuple[str, ...]:
    fields = terms.content.fields if terms.content is not None else ()
    columns = (column.name for column in terms.columns if column.kind == "text")
    found = tuple(dict.fromkeys((*fields, *columns)))
    if not found:
        raise DataError("the charter has no column of free text, so there is nothing to look in")
    return found


def _kinds(names: Sequence[str], record_number: str) -> tuple[Kind, ...]:
    if unknown := [name for name in names if name not in KINDS]:
        raise DataError(f"--kind {unknown[0]!r} is unknown; known: {', '.join(KINDS)}")
    chosen = tuple(KINDS[name] for name in names) if names else tuple(KINDS.values())
    return (own_kind(record_number), *chosen) if record_number else chosen


def _search(
    source: DataFile, terms: DataTerms, columns: Sequence[str], kinds: Sequence[Kind]
) -> tuple[list[Row], list[_Place]]:
    """Return the rows with placeholders, and where something was found."""
    rows: list[Row] = []
    found: list[_Place] = []
    for line, row in raw_rows(source, terms):
        record = Placeholders()
        changed = dict(row)
        for column, text in _texts(line, row, terms, columns):
            redacted, marked = record.redacted(text, kinds)
            found += [_Place(line=line, column=column, mark=mark) for mark in marked]
            if column in changed:
                changed[column] = redacted
        rows.append(changed)
    return rows, found


def _texts(
    line: int, row: Row, terms: DataTerms, columns: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Yield each text of a record and where it stands; the turns of a conversation one by one."""
    content = terms.content
    for column in columns:
        if content is None or content.form != "messages" or column != content.messages:
            yield column, row[column]
            continue
        try:
            said = read_content(row, content)
        except CellProblem as problem:
            raise DataError(f"line {line}: {problem}. Nothing was written") from problem
        for number, turn in enumerate(getattr(said, "turns", ()), start=1):
            yield f"{column}, turn {number}", turn.text


def _write(
    out: Path, log: Path, rows: Sequence[Row], found: Sequence[_Place], terms: DataTerms
) -> None:
    if not rows:
        raise DataError("the file has no records. Nothing was written")
    if terms.content is None:
        data = write_csv(rows, tuple(rows[0]))
    else:
        data = "".join(f"{line_of(row, terms.content)}\n" for row in rows).encode("utf-8")
    decisions = (json_line(_told(one) | {"decision": "redact"}) for one in found)
    try:
        files.create(log, "".join(decisions).encode("utf-8"))
        files.create(out, data)
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error.strerror}") from error


def _told(one: _Place) -> dict[str, str | int]:
    return {
        "line": one.line, "column": one.column, "kind": one.mark.kind,
        "begin": one.mark.begin, "end": one.mark.end,
    }  # fmt: skip


def _counts(found: Sequence[_Place]) -> dict[str, int]:
    """Return in how many records each kind was found."""
    return dict(Counter(kind for _, kind in {(one.line, one.mark.kind) for one in found}))


def _said(found: Sequence[_Place], rows: int, out: Path | None, log: Path | None) -> list[str]:
    said = [
        f"{len({one.line for one in found})} of {rows} records hold personal data of these forms."
    ]
    said += [f"{kind}: {count} records" for kind, count in sorted(_counts(found).items())]
    if out:
        said.append(f"wrote {out} with {len(found)} placeholders; each place: {log}")
    return [*said, _NOT_ANONYMOUS]


def _document(found: Sequence[_Place], rows: int, out: Path | None) -> dict[str, object]:
    return {
        "records": rows,
        "with-personal-data": len({one.line for one in found}),
        "by-kind": dict(sorted(_counts(found).items())),
        "places": [_told(one) for one in found],
        "redacted": len(found) if out else 0,
        "written": str(out) if out else None,
    }
