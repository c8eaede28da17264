"""`fedethics data suspects`: labels that the records themselves speak against."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fedethics.annotation.tool import json_line
from fedethics.canonical import Json
from fedethics.charter.data_terms import DataTerms
from fedethics.charter.document import load
from fedethics.cli.output import AsJson, Reading, answer, plain_form, table
from fedethics.data.file_terms import DataFile, terms_of
from fedethics.data.json_lines import line_of
from fedethics.data.reading import raw_rows, read_records, row_identity
from fedethics.data.records import Records
from fedethics.errors import DataError
from fedethics.quality.suspects import suspects as found_in
from fedethics.simulation.partition import write_csv
from fedethics.storage import files

_LOCAL = "These lines describe records of this site alone. Do not send them to anyone."
_MOST_SHOWN = 20
_KEEP, _LEAVE_OUT, _RELABEL = "keep", "leave-out", "relabel:"


def suspects(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV, JSON lines, Parquet or .xlsx.")
    ],
    charter: Annotated[Path, typer.Option("--charter", "-c", help="The charter to read it by.")],
    decide: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LINE=DECISION",
            help="What you decided of a line: keep, leave-out or relabel:LABEL; repeat for more.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the file with your decisions, and their log."),
    ] = None,
    read: Reading = None,
    as_json: AsJson = False,
) -> None:
    """List the records whose label a small model doubts, by line, the most doubtful first.

    A suspect is a record to look at again: rare but true records are suspects too. Nothing is
    changed unasked, and no text is shown.
    """
    agreed = load(charter)
    terms = agreed.data
    if bool(decide) != bool(out):
        raise DataError("--decide and --out go together: decisions are written to a new file")
    log = out.with_suffix(".decisions.jsonl") if out else None
    if existing := [path for path in (out, log) if path and path.exists()]:
        raise DataError(f"{existing[0]} exists; nothing was changed. Choose another name")
    source = DataFile(file, terms_of(read or ()))
    records = read_records(source, terms, task=agreed.model.task)
    lines = _lines(source, terms, records)
    found = found_in(records, terms)
    names = terms.labels.names
    decided = _decisions(decide or (), lines, names)
    if out and log:
        _write(out, log, source, terms, decided)
    rows = [(lines[one.record], names[one.given], names[one.likely], one.margin) for one in found]
    document: dict[str, Json] = {
        "records": len(records),
        "suspects": [
            {"line": line, "label": given, "likely": likely, "margin": margin}
            for line, given, likely, margin in rows
        ],
        "decided": {str(line): said for line, said in decided.items()},
        "written": str(out) if out else None,
    }

    wrote = f"wrote {out} with {len(decided)} decisions; every decision: {log}" if out else ""
    wrote = "\n".join([wrote, *plain_form(read)]) if wrote else ""
    answer(document, lambda console: _show(console, rows, len(records), wrote), as_json=as_json)


def _show(
    console: Console, rows: Sequence[tuple[int, str, str, float]], records: int, wrote: str
) -> None:
    shown = [(line, a, b, f"{margin:.2f}") for line, a, b, margin in rows[:_MOST_SHOWN]]
    if shown:
        console.print(table("Suspects", ("line", "label", "more likely", "margin"), shown))
    said = [f"{len(rows)} of {records} records have a label that the model doubts."]
    if len(rows) > _MOST_SHOWN:
        said.append(f"{_MOST_SHOWN} are shown; --json lists all.")
    said += [wrote] if wrote else []
    console.print(Text("\n".join([*said, _LOCAL])), soft_wrap=True)


def _lines(source: DataFile, terms: DataTerms, records: Records) -> tuple[int, ...]:
    """Return each record's line; of equal rows, the n-th record is the n-th row."""
    of_row: defaultdict[bytes, list[int]] = defaultdict(list)
    for line, row in raw_rows(source, terms):
        of_row[row_identity(row, terms, source.read)].append(line)
    listed = {row: iter(places) for row, places in of_row.items()}
    return tuple(next(listed[row]) for row in records.row_hashes)


def _decisions(said: Sequence[str], lines: Sequence[int], names: Sequence[str]) -> dict[int, str]:
    known, found = set(lines), dict[int, str]()
    for entry in said:
        number, _, decision = entry.partition("=")
        line = int(number) if number.isascii() and number.isdigit() else 0
        label = decision.removeprefix(_RELABEL) if decision.startswith(_RELABEL) else None
        if line not in known:
            problem = "no record of the file that a run would use has this line"
        elif line in found:
            problem = "this line was decided already"
        elif label is not None and label not in names:
            problem = f"not a label of the charter; its labels: {', '.join(names)}"
        elif label is None and decision not in (_KEEP, _LEAVE_OUT):
            problem = f"say {_KEEP}, {_LEAVE_OUT} or {_RELABEL}LABEL"
        else:
            found[line] = decision
            continue
        raise DataError(f"--decide {entry}: {problem}. Nothing was written")
    return dict(sorted(found.items()))


def _write(
    out: Path, log: Path, source: DataFile, terms: DataTerms, decided: Mapping[int, str]
) -> None:
    """Write the rows as decided, and the decisions."""
    cells: dict[str, str] = {}
    for cell, number in terms.labels.by_cell.items():
        cells.setdefault(terms.labels.names[number], cell)
    rows = []
    for line, row in raw_rows(source, terms):
        decision = decided.get(line, _KEEP)
        if decision.startswith(_RELABEL):
            row = {**row, terms.labels.column: cells[decision.removeprefix(_RELABEL)]}
        if decision != _LEAVE_OUT:
            rows.append(row)
    if not rows:
        raise DataError("every record would be left out; nothing was written")
    if terms.content is None:
        data = write_csv(rows, tuple(rows[0]))
    else:
        data = "".join(f"{line_of(row, terms.content)}\n" for row in rows).encode("utf-8")
    logged = (json_line({"line": line, "decision": said}) for line, said in decided.items())
    try:
        files.create(log, "".join(logged).encode("utf-8"))
        files.create(out, data)
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error.strerror}") from error
