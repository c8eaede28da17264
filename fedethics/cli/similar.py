"""`fedethics data similar`: records that repeat each other, or a public benchmark's items."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fedethics.annotation.tool import json_line
from fedethics.benchmarks.benchmark import Benchmark
from fedethics.benchmarks.registry import BENCHMARKS, benchmark_names, find_benchmark
from fedethics.canonical import Json
from fedethics.charter.document import load
from fedethics.charter.model import Charter
from fedethics.cli.output import AsJson, Reading, answer, plain_form, table
from fedethics.data.file_terms import DataFile, terms_of
from fedethics.data.json_lines import line_of
from fedethics.data.reading import raw_rows, read_records, row_identity
from fedethics.data.records import split
from fedethics.errors import EXIT_BAD_INPUT, DataError
from fedethics.quality.benchmark_overlap import Overlap, overlaps
from fedethics.quality.near_duplicates import THRESHOLD, Near, near_duplicates
from fedethics.simulation.partition import write_csv
from fedethics.storage import files

_LOCAL = "These counts are exact and describe this site alone. Do not send them to anyone."
_MOST_SHOWN = 20


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """What was found; places count training records first, then held-out ones.

    Attributes:
        lines: of the file, of each record.
        near: records that repeat an earlier one.
        overlaps: what the records share with each benchmark.
    """

    lines: tuple[int, ...]
    near: tuple[Near, ...]
    overlaps: tuple[Overlap, ...]

    @property
    def left_out(self) -> dict[int, str]:
        """Why each record is left out, if a person chooses that, by its line."""
        why = {
            place: f"holds text of {one.benchmark}"
            for one in reversed(self.overlaps)
            for place in one.records
        }
        for one in self.near:
            where = "the training record" if one.across else "the record"
            why[one.record] = (
                f"says nearly the same as {where} of line {self.lines[one.other]} "
                f"({one.similarity:.2f})"
            )
        return {self.lines[place]: reason for place, reason in sorted(why.items())}


def similar(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV, JSON lines, Parquet or .xlsx.")
    ],
    charter: Annotated[Path, typer.Option("--charter", "-c", help="The charter to read it by.")],
    threshold: Annotated[
        float,
        typer.Option(min=0.5, max=1.0, help="Least share of word runs that two texts share."),
    ] = THRESHOLD,
    benchmarks: Annotated[
        Path | None,
        typer.Option(help="Look for the benchmarks' items too, in the data fetched here."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help=f"Of {', '.join(benchmark_names())}; repeat for more.")
    ] = None,
    memory: Annotated[int, typer.Option(min=1, help="MiB that the comparison may use.")] = 2048,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the file without the records that were found."),
    ] = None,
    read: Reading = None,
    as_json: AsJson = False,
) -> None:
    """Find texts that say nearly the same, on one or both sides of the split, or as a benchmark.

    Exit code 2 if records hold text of a benchmark and stay in the file: the gate's benchmark would
    judge the model by what it was trained on.
    """
    agreed = load(charter)
    source = DataFile(file, terms_of(read or ()))
    log = out.with_suffix(".decisions.jsonl") if out else None
    if existing := [path for path in (out, log) if path and path.exists()]:
        raise DataError(f"{existing[0]} exists; nothing was changed. Choose another name")
    if only and benchmarks is None:
        raise DataError("--only: say with --benchmarks where the benchmarks' data is")
    asked = tuple(map(find_benchmark, only)) if only else tuple(BENCHMARKS.values())
    found = _find(
        source, agreed, asked if benchmarks else (), benchmarks or Path(),
        threshold=threshold, memory=memory,
    )  # fmt: skip
    if out and log:
        _write(out, log, source, agreed, found.left_out)

    def render(console: Console) -> None:
        _show(console, found, out, log)
        for line in plain_form(read) if out else ():
            console.print(Text(line), soft_wrap=True)

    answer(_document(found, out), render, as_json=as_json)
    if out is None and any(one.records for one in found.overlaps):
        raise typer.Exit(EXIT_BAD_INPUT)


def _find(
    source: DataFile, charter: Charter, benchmarks: Sequence[Benchmark], root: Path, *,
    threshold: float, memory: int,
) -> _Found:  # fmt: skip
    terms = charter.data
    parts = split(read_records(source, terms, task=charter.model.task), terms)
    of_row: defaultdict[bytes, list[int]] = defaultdict(list)
    for line, row in raw_rows(source, terms):
        of_row[row_identity(row, terms, source.read)].append(line)
    lines = {row: iter(listed) for row, listed in of_row.items()}
    hashes = (*parts.train.row_hashes, *parts.held_out.row_hashes)
    contents = (*parts.train.texts, *parts.held_out.texts)
    return _Found(
        # Of equal rows, the n-th record is the n-th row.
        lines=tuple(next(lines[row]) for row in hashes),
        near=near_duplicates(
            parts.train.texts, parts.held_out.texts, threshold=threshold, mebibytes=memory
        ),
        overlaps=overlaps(contents, benchmarks, root),
    )


def _write(
    out: Path, log: Path, source: DataFile, charter: Charter, left_out: dict[int, str]
) -> None:
    """Write the rows that stay, and why each other one does not."""
    rows = [row for line, row in raw_rows(source, charter.data) if line not in left_out]
    content = charter.data.content
    if content is None:
        data = write_csv(rows, tuple(rows[0]))  # the first record is never a repeat
    else:
        data = "".join(f"{line_of(row, content)}\n" for row in rows).encode("utf-8")
    decisions = (
        json_line({"line": line, "decision": "leave out", "reason": reason})
        for line, reason in left_out.items()
    )
    try:
        files.create(log, "".join(decisions).encode("utf-8"))
        files.create(out, data)
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error.strerror}") from error


def _show(console: Console, found: _Found, out: Path | None, log: Path | None) -> None:
    reasons = list(found.left_out.items())
    if reasons:
        console.print(table("Records that repeat others", ("line", "why"), _rows(reasons)))
    said = [
        f"{_count(found, across=False)} records say nearly the same as one before them; "
        f"{_count(found, across=True)} held-out records say nearly the same as a training record."
    ]
    said += [
        f"{one.benchmark}: {len(one.records)} records hold text of {one.items} of {one.of} items."
        + (" Leave them out, or do not judge the model by it." if one.records else "")
        for one in found.overlaps
    ]
    if out:
        said.append(f"wrote {out} without {len(reasons)} records; every decision: {log}")
    console.print(Text("\n".join([*said, _LOCAL])), soft_wrap=True)


def _rows(reasons: Sequence[tuple[int, str]]) -> Iterator[tuple[str | int, str]]:
    yield from reasons[:_MOST_SHOWN]
    for kind, count in Counter(why.split(" ")[0] for _, why in reasons[_MOST_SHOWN:]).items():
        yield f"{count} more", f"{kind} ..."


def _count(found: _Found, *, across: bool) -> int:
    return sum(one.across is across for one in found.near)


def _document(found: _Found, out: Path | None) -> dict[str, Json]:
    return {
        "records": len(found.lines),
        "near": [
            {"line": found.lines[one.record], "other": found.lines[one.other],
             "similarity": one.similarity, "across-the-split": one.across}
            for one in found.near
        ],
        "benchmarks": [
            {"benchmark": one.benchmark, "items": one.items, "of": one.of,
             "lines": [found.lines[place] for place in one.records]}
            for one in found.overlaps
        ],
        "left-out": len(found.left_out) if out else 0,
        "written": str(out) if out else None,
    }  # fmt: skip
