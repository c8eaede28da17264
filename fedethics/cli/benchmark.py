"""`fedethics benchmark`: public bias benchmarks of a language model, before and after a run.

They cost no privacy: a released adapter and the base model are public to anyone who asks, and no
record is read.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from fedethics import terms
from fedethics.benchmarks import running
from fedethics.benchmarks.benchmark import Benchmark, Suite
from fedethics.benchmarks.registry import benchmark_names, chosen, find_benchmark
from fedethics.benchmarks.results import Results, Row, rows
from fedethics.benchmarks.statistics import Figure
from fedethics.canonical import Json
from fedethics.cli.output import AsJson, Terminal, answer, say, table
from fedethics.errors import ReleaseError
from fedethics.identity import Identity
from fedethics.release import durable, folder
from fedethics.release.folder import ADAPTER, BENCHMARKS, CHARTER, EVIDENCE, located

_DATA = Path(".data/benchmarks")
_OUT = Path("benchmarks")


def benchmark(
    target: Annotated[
        str,
        typer.Argument(
            metavar="RUN|RELEASE|MODEL",
            help="A run's directory, or a model: its folder, .gguf file or embedded name.",
        ),
    ] = "",
    suite: Annotated[Suite, typer.Option(help="How many items; see docs/bias-benchmarks.md.")] = (
        "standard"
    ),
    only: Annotated[
        list[str] | None, typer.Option(help=f"Of {', '.join(benchmark_names())}; repeat for more.")
    ] = None,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Get the data by hash, and ask no model.")
    ] = False,
    data: Annotated[Path, typer.Option(help="Directory of the benchmarks' data.")] = _DATA,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File of the answers; begun ones are continued. By default in benchmarks/."
        ),
    ] = None,
    model_dir: Annotated[
        Path | None, typer.Option(help="The base model's folder or .gguf; else the embedded one.")
    ] = None,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep", help="Keep the answers with the run and judge it again; needs --key."
        ),
    ] = False,
    key: Annotated[
        Path | None, typer.Option(help="The coordinator's signing key, for --keep.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask a language model public bias benchmarks, before and after fine-tuning; no record is read.

    Every figure has a 95 % interval, and before and after are compared on the same items.
    """
    if fetch:
        _fetch(tuple(only or ()), data)
        return
    if not target:
        raise typer.BadParameter("name a run, a release or a model, or give --fetch")
    asked = running.plan(chosen(suite, tuple(only or ())), suite, data)
    file, signer = out or _file(target, suite, only), _signer(Path(target), key) if keep else None
    found = _asked_of(target, model_dir, asked, file)
    if signer is not None:
        _keep(Path(target), file, signer)
    listed = rows(found)
    answer(_document(found, listed), lambda console: show(found, listed, console), as_json=as_json)


def _signer(run: Path, key: Path | None) -> Identity:
    """Return the coordinator's key, once nothing speaks against keeping answers with the run."""
    # Drawing needs matplotlib, which most other commands can do without.
    from fedethics.release.publish import require_unapproved

    if key is None:
        raise typer.BadParameter("--keep signs the run's manifest again: give --key")
    folder.load(run)
    require_unapproved(run)
    return Identity.load(key)


def _keep(run: Path, answers: Path, coordinator: Identity) -> None:
    """Put the answers into the run's folder and judge it again."""
    from fedethics.release.publish import publish  # here: as above

    durable.write(run / BENCHMARKS, answers.read_bytes())
    verdict = publish(run, coordinator).verdict
    say(f"kept in {run / BENCHMARKS}; the gate now says: {verdict}", err=True)


def _fetch(only: tuple[str, ...], data: Path) -> None:
    named: list[Benchmark] = [find_benchmark(name) for name in only or benchmark_names()]
    for each in named:
        fetched = each.fetch(data)
        say(f"{data / each.name}: {'fetched' if fetched else 'already there'} ({each.licence})")


def _file(target: str, suite: Suite, only: list[str] | None) -> Path:
    name = Path(target).resolve().name or "model"
    return _OUT / f"{'-'.join((name, suite, *(only or ())))}.jsonl"


def _asked_of(target: str, model_dir: Path | None, asked: running.Plan, out: Path) -> Results:
    # Before anything of Hugging Face is imported: never download.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # By name at run time: the officer's commands must start without torch, and this one needs it.
    engine: Any = importlib.import_module("fedethics.training.likelihood")
    path = Path(target)
    if (path / CHARTER).exists() or (path / EVIDENCE).exists():
        opened = folder.load(path)
        adapter = located(path, ADAPTER)
        found = folder.hash_file(path, ADAPTER).sha256
        if found != opened.evidence.model_hash:
            raise ReleaseError(
                f"{adapter} has SHA-256 {found}, but the run's evidence names "
                f"{opened.evidence.model_hash}; nothing was asked"
            )
        model = engine.of_charter(
            opened.charter, opened.charter_sha256, adapter=adapter.parent, model_dir=model_dir
        )
    else:
        model = engine.of_folder(target)
    with _bar(asked.items) as done:
        return running.run(asked, model, out, done=done)


@contextmanager
def _bar(items: int) -> Iterator[Callable[[str, int], None]]:
    """Show how far it is, and the time left, on standard error."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Terminal(stderr=True)) as progress:
        task = progress.add_task("benchmarks", total=items)

        def done(name: str, count: int) -> None:
            progress.update(task, description=name, advance=count)

        yield done


def show(found: Results, listed: list[Row], console: Console) -> None:
    """Print a table of each benchmark: every metric over all items, the first one by slice."""
    for name in found.lines:
        of_it = [row for row in listed if row.benchmark == name]
        lead = [row for row in of_it if row.metric == of_it[0].metric]
        shown = [*lead, *(row for row in of_it if not row.part and row not in lead)]
        compared = found.header.adapter_sha256 is not None
        columns = ("metric", "items", "base [95 %]", *(_COMPARED if compared else ()))
        console.print(table(f"{name}, suite {found.header.suite}", columns, map(_cells, shown)))
    console.print(
        "Screening statistics of public English items, not a judgement on the model. An interval "
        "is for the drawing of items. Definitions: docs/bias-benchmarks.md."
    )


_COMPARED = ("with adapter [95 %]", "change [95 %]", "p")


def _cells(row: Row) -> tuple[str, ...]:
    name = f"  {row.part}" if row.part else row.metric
    first = (name, str(row.before.items), _told(row.before))
    if row.after is None or row.change is None:
        return first
    p = "-" if row.change.p is None else f"{row.change.p:.3f}"
    return (*first, _told(row.after), _told(row.change, sign="+"), p)


def _told(figure: Figure, *, sign: str = "") -> str:
    if figure.value is None or figure.low is None or figure.high is None:
        return figure.untold
    return f"{figure.value:{sign}.3f} [{figure.low:{sign}.3f}, {figure.high:{sign}.3f}]"


def _document(found: Results, listed: list[Row]) -> dict[str, Json]:
    return {
        "header": terms.document(found.header),
        "sha256": found.sha256,
        "figures": [_as_json(row) for row in listed],
    }


def _as_json(row: Row) -> Json:
    figures = {"before": row.before, "after": row.after, "change": row.change}
    return {
        "benchmark": row.benchmark,
        "metric": row.metric,
        "slice": row.part,
        **{name: terms.document(figure) for name, figure in figures.items() if figure},
    }
