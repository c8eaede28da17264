"""`fedethics simulate`: a whole federation on this machine, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from fedethics.cli.census import UntilCensus
from fedethics.systems import require_home_system

# Options of every command that runs a scenario, `python -m simulations` included.
Out = Annotated[Path, typer.Option(help="where run directories are made")]
RunId = Annotated[str, typer.Option(help="name of the run; made from the time if empty")]
Resume = Annotated[
    Path | None, typer.Option(help="continue this run after its last committed round")
]
Data = Annotated[Path, typer.Option(help="directory of the data sets")]

Workers = Annotated[
    int,
    typer.Option(
        min=0,
        help="processes that the sites are spread over, each on one thread with a model of its "
        "own; 0: all in one process",
    ),
]


def simulate(
    scenario: Annotated[
        Path, typer.Argument(help="a scenario, or the folder with its scenario.toml")
    ],
    out: Out = Path("runs"),
    run_id: RunId = "",
    resume: Resume = None,
    data: Data = Path(".data"),
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="set a key of the charter for this run, as training.rounds=3; repeat for more",
        ),
    ] = None,
    lose: Annotated[
        list[str] | None,
        typer.Option(metavar="SITE@ROUND", help="fault: the site hears nothing of that round"),
    ] = None,
    late: Annotated[
        list[str] | None,
        typer.Option(metavar="SITE@ROUND", help="fault: the site trains, and answers too late"),
    ] = None,
    poison: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SITE=KIND", help="attack: the site sends its update as scale, flip or noise"
        ),
    ] = None,
    workers: Workers = 0,
    diagnose: Annotated[
        bool,
        typer.Option(
            "--diagnose",
            help="write loss, gradient norms and clipped share by round, which only a simulation "
            "may look at",
        ),
    ] = False,
    until_census: UntilCensus = False,
) -> None:
    """Run the real coordinator and sites on this machine and show the results.

    Every site has its own keys, policy and ledger, in the run's directory. No network, no Flower.
    """
    require_home_system("fedethics simulate")
    options = ["--out", str(out), "--run-id", run_id, "--data", str(data)]
    options += ["--resume", str(resume)] if resume is not None else []
    options += [f"--set={pair}" for pair in settings or ()]
    options += ["--workers", str(workers)] if workers else []
    options += ["--diagnose"] * diagnose + ["--until-census"] * until_census
    faults = {"lose": lose, "late": late, "poison": poison}
    options += [f"--{name}={one}" for name, told in faults.items() for one in told or ()]
    command = [sys.executable, "-P", "-m", "fedethics.simulation.command", *options, "--"]
    named = scenario / "scenario.toml" if scenario.is_dir() else scenario
    raise typer.Exit(run_process([*command, str(named)]))


def run_process(command: list[str]) -> int:
    """Run a process with this one's terminal, also through Ctrl-C, which the process hears too."""
    with subprocess.Popen(command) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue
