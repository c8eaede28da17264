"""The command line of the simulations."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from fedethics import texts
from fedethics.cli.output import Terminal, say
from fedethics.errors import FedethicsError

_INTERRUPTED = 130
_DATA = Path(".data")


def simulate(
    scenario: Annotated[Path, typer.Argument(help="a scenario, such as configs/heart.toml")],
    out: Annotated[Path, typer.Option(help="where run directories are made")] = Path("runs"),
    run_id: Annotated[str, typer.Option(help="name of the run; made from the time if empty")] = "",
    resume: Annotated[
        Path | None, typer.Option(help="continue this run after its last committed round")
    ] = None,
    data: Annotated[Path, typer.Option(help="directory of the data sets")] = _DATA,
    comparisons: Annotated[
        bool, typer.Option(help="also run what the report compares with")
    ] = True,
) -> None:
    """Run the real apps over an in-process grid and show what came out."""
    from simulations import staging
    from simulations.scenario import data_folder, load

    setup, draft = load(scenario)
    if resume is not None:
        stage = staging.existing(resume)
    else:
        name = run_id or f"{setup.name}-{datetime.now():%Y%m%d-%H%M%S}"
        stage = staging.build(
            setup,
            draft,
            base=scenario.parent,
            data_dir=data_folder(setup, data),
            run_dir=out / name,
        )
    # Late: it takes seconds to import torch, and a wrong file is answered at once.
    from simulations.play import play

    try:
        play(
            Terminal(),
            stage,
            setup,
            resume=resume is not None,
            comparisons=comparisons,
        )
    except KeyboardInterrupt:
        _say(
            "interrupted. Committed rounds are kept; what the round in flight had reserved stays "
            "charged in the sites' ledgers. Continue with: python -m simulations "
            f"{scenario} --resume {stage.run_dir}"
        )
        raise typer.Exit(_INTERRUPTED) from None


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
        _say(f"[{error.code}] {error}")
        sys.exit(error.exit_code)


def _say(text: str) -> None:
    say(texts.message(f"fedethics: {text}"), err=True)
