"""`fedethics track`: a run's numbers for the tools that researchers compare runs with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedethics.cli.output import say
from fedethics.tracking import find_tracker, recorded, tracker_names


def track(
    run: Annotated[Path, typer.Argument(help="The run's directory.")],
    to: Annotated[str, typer.Option(help=f"One of: {', '.join(tracker_names())}.")] = "csv",
    out: Annotated[
        str, typer.Option(help="Folder to write to; for mlflow, a tracking URI too.")
    ] = "tracking",
) -> None:
    """Write a run's numbers by round as CSV, for TensorBoard or for MLflow."""
    tracker = find_tracker(to)
    say(tracker.write(recorded(run), out))
