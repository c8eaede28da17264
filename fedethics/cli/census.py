"""`fedethics federation census`: who is in the data of a run, as soon as its census was opened."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fedethics.cli.output import AsJson, answer, table
from fedethics.deployment.settings import FederationHome
from fedethics.errors import EXIT_REFUSED, RunError

UntilCensus = Annotated[
    bool,
    typer.Option(
        "--until-census",
        help="Pause after the census, before anything is trained; resume to go on.",
    ),
]


def census(
    job: Annotated[
        Path | None, typer.Option("--job", help="The run's directory, such as runs/<id>.")
    ] = None,
    home: Annotated[
        Path | None, typer.Option("--home", help="The coordinator's home, for its current job.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help="Write a self-contained HTML page here too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the census of a run: groups, labels, missing values, lengths, words.

    It reads the run's directory and nothing else. Exit code 5 if a bar of the charter is shown to
    be missed.
    """
    if (job is None) == (home is None):
        raise RunError("give --job with a run's directory, or --home with the coordinator's")
    run = job if job is not None else FederationHome.open(home or Path()).job_dir
    if show_census(run, page=page, as_json=as_json):
        raise typer.Exit(EXIT_REFUSED)


def show_census(run: Path, *, page: Path | None = None, as_json: bool = False) -> bool:
    """Show the census of a run's directory; return whether a bar is shown to be missed."""
    # Here: it takes numpy and scipy, which other commands of the federation do not need.
    from fedethics.aggregates.census.page import read_census
    from fedethics.release import durable

    found = read_census(run)
    if page is not None:
        durable.write(page, found.page().encode("utf-8"))

    def render(console: Console) -> None:
        for caption, one in found.tables.items():
            console.print(table(caption, one.head, one.rows))
        console.print(Text(found.words, style="bold red" if found.missed else ""))

    answer(found.document(), render, as_json=as_json)
    return bool(found.missed)
