"""The command line of the simulations: a run with its baselines, and comparisons of methods."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fedethics.cli.output import Terminal
from fedethics.cli.simulate import Data, Out, Resume, RunId
from fedethics.errors import FedethicsError
from fedethics.simulation.command import finish, staged, told


def simulate(
    scenario: Annotated[Path, typer.Argument(help="a scenario, such as configs/heart.toml")],
    out: Out = Path("runs"),
    run_id: RunId = "",
    resume: Resume = None,
    data: Data = Path(".data"),
    comparisons: Annotated[
        bool, typer.Option(help="also run what the report compares with")
    ] = True,
) -> None:
    """Run the real coordinator and sites in one process and show the results."""
    setup, stage = staged(scenario, out=out, run_id=run_id, resume=resume, data=data)
    # Late: it takes seconds to import torch, and a wrong file is answered at once.
    from fedethics.simulation import federation
    from simulations.comparisons import baselines_of

    baselines = baselines_of(stage, setup.comparisons) if comparisons else None

    def work() -> None:
        federation.simulate(
            Terminal(),
            stage,
            resume=resume is not None,
            baselines=baselines,
            program=".venv/bin/fedethics",
        )

    code = finish(work, stage, again=f"python -m simulations {scenario}")
    if code:
        raise typer.Exit(code)


def main() -> None:
    """Run the command; an expected error is one message and its exit code."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    arguments = sys.argv[1:]
    if arguments[:1] == ["compare"]:
        from simulations.compare_command import compare_methods

        app.command()(compare_methods)
        arguments = arguments[1:]
    else:
        app.command()(simulate)
    try:
        app(args=arguments)
    except FedethicsError as error:
        told(f"[{error.code}] {error}")
        sys.exit(error.exit_code)
