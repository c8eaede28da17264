"""`fedethics tune`: settings chosen on public records, in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fedethics.cli.simulate import Data, Out, RunId, run_process
from fedethics.systems import require_home_system


def tune(
    charter: Annotated[Path, typer.Argument(help="the charter whose settings are sought")],
    public: Annotated[
        Path,
        typer.Option(
            help="public or made-up records: a scenario such as configs/adult.toml, or a CSV or "
            "JSONL file that the charter's schema reads"
        ),
    ],
    tried: Annotated[
        list[str] | None,
        typer.Option(
            "--try",
            metavar="KEY=[VALUES]",
            help="values to try, as training.learning-rate=[0.5,1]; repeat for a grid. Without "
            "it, the charter's [[tuning.candidates]]",
        ),
    ] = None,
    seed: Annotated[
        list[int] | None, typer.Option(help="adapter seed; repeat to run each candidate with each")
    ] = None,
    select: Annotated[
        str, typer.Option(help="metric of an objective that decides; the first without groups")
    ] = "",
    named: Annotated[
        str, typer.Option(help="what the records are, as the charter will say; the file's name")
    ] = "",
    model_dir: Annotated[Path | None, typer.Option(help="the base model, of a file")] = None,
    out: Out = Path("runs"),
    run_id: RunId = "",
    data: Data = Path(".data"),
) -> None:
    """Choose settings on public records, where trials cost no privacy, and write the charter.

    Each candidate is a simulated federation with the noise of the charter's own epsilon.
    """
    require_home_system("fedethics tune")
    options = ["--public", str(public), "--out", str(out), "--run-id", run_id, "--data", str(data)]
    options += [f"--try={pair}" for pair in tried or ()]
    options += [f"--seed={one}" for one in seed or ()]
    options += [f"--select={select}", f"--named={named}"]
    options += [f"--model-dir={model_dir}"] if model_dir else []
    command = [sys.executable, "-P", "-m", "fedethics.simulation.public_tuning", *options, "--"]
    raise typer.Exit(run_process([*command, str(charter)]))
