"""One simulated run as a command: from a scenario, or from a run to be continued, to its outcome.

`fedethics simulate` starts `python -m fedethics.simulation.command` as a process of its own, since
its own process starts without torch.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# Before anything of Hugging Face is imported: never download.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from fedethics import memory, texts
from fedethics.cli.output import Terminal, say
from fedethics.commands import command
from fedethics.errors import FedethicsError, RunError
from fedethics.privacy import search
from fedethics.simulation import staging, trials_page
from fedethics.simulation.scenario import Scenario, load, run_name, settings_of
from fedethics.simulation.staging import Stage
from fedethics.simulation.trials import is_several, plan_trials
from fedethics.tracking.recorded import SIMULATED

INTERRUPTED = 130


def staged(
    scenario: Path,
    *,
    out: Path,
    run_id: str,
    resume: Path | None,
    data: Path,
    settings: Mapping[str, Any] | None = None,
) -> tuple[Scenario, Stage]:
    """Return the scenario, and its federation: made under `out`, or the one to be continued.

    Raises:
        FedethicsError: the scenario, its charter, its data or the run is not as it must be.
    """
    if resume is not None and settings:
        raise RunError(
            "--set: a run that is continued keeps its charter, which is signed. Nothing was started"
        )
    setup, draft = load(scenario, settings=settings)
    if resume is not None:
        return setup, staging.existing(resume)
    if setup.sweep is not None or setup.repeat is not None:
        raise RunError(
            f"{scenario} asks for several runs ([sweep] or [repeat]); nothing was started. Run "
            f"them with {command('fedethics', 'simulate', scenario)}, or from Python with "
            "fedethics.sweep"
        )
    if search.is_search(draft):
        search.trials(
            draft
        )  # what cannot be paid for or is no charter ends here, before keys are made
    run_dir = out / run_name(run_id, setup.name)
    return setup, staging.of_scenario(
        setup, draft, base=scenario.parent, data=data, run_dir=run_dir, settings=settings
    )


def finish(work: Callable[[], None], stage: Stage, *, again: str) -> int:
    """Do the work, and return 0, or what an interrupted command returns.

    Args:
        work: runs the federation.
        stage: the federation.
        again: the command by which this run began; with --resume it goes on.
    """
    try:
        work()
    except KeyboardInterrupt:
        told(
            "interrupted. Committed rounds are kept; what the unfinished round had reserved stays "
            f"charged in the sites' ledgers. Continue with: {again} --resume {stage.run_dir}"
        )
        return INTERRUPTED
    return 0


def told(text: str) -> None:
    """Say something on standard error."""
    say(texts.message(f"fedethics: {text}"), err=True)


def main() -> int:
    """Run what the command line names; an expected error is one message and its exit code."""
    options = _options()
    try:
        if is_several(options.scenario, options.resume):
            of_one = options.lose, options.late, options.poison, options.diagnose, options.workers
            if any(of_one):
                raise RunError(
                    "--lose, --late, --poison, --diagnose, --workers: of one run, not of several; "
                    "nothing was started"
                )
            if options.until_census:
                raise RunError("--until-census: of one run, not of several; nothing was started")
            return _several(options)
        _, stage = staged(
            options.scenario,
            out=options.out,
            run_id=options.run_id,
            resume=options.resume,
            data=options.data,
            settings=settings_of(options.settings),
        )
        _with_faults(options, stage)
        # Late: it takes seconds to import torch, and a wrong file is answered at once.
        from fedethics.simulation.federation import simulate

        again = command("fedethics", "simulate", options.scenario)

        def work() -> None:
            resumed = options.resume is not None
            if options.until_census:
                _take_census(stage, resume=resumed, again=again)
                return
            ended = stage
            if search.is_search(stage.charter):
                from fedethics.simulation.searching import simulate_search

                ended = simulate_search(Terminal(), stage, workers=options.workers)
            else:
                simulate(Terminal(), stage, resume=resumed, workers=options.workers)
            if options.diagnose:
                from fedethics.simulation.diagnosis import NOTE, diagnose

                diagnose(ended)
                say(f"diagnosis {ended.run_dir / SIMULATED} ({NOTE})")

        return finish(work, stage, again=again)
    except FedethicsError as error:
        told(f"[{error.code}] {error}")
        return error.exit_code


def _take_census(stage: Stage, *, resume: bool, again: str) -> None:
    """Run the federation as far as its census, and show it."""
    from fedethics.cli.census import show_census
    from fedethics.simulation.federation import run_federation

    run_federation(stage, resume=resume, until_census=True)
    show_census(stage.run_dir)
    page = stage.run_dir / "census.html"
    say(f"Nothing was trained. The page: {page}. To train: {again} --resume {stage.run_dir}")


def _with_faults(options: argparse.Namespace, stage: Stage) -> None:
    """Keep beside the run's charter what is to go wrong in it."""
    asked = options.lose, options.late, options.poison
    if not any(asked):
        return
    if options.resume is not None:
        raise RunError(
            "--lose, --late, --poison: a run that is continued keeps the faults that it began "
            "with. Nothing was started"
        )
    # Late: it takes seconds to import torch.
    from fedethics.simulation import faults

    faults.keep(faults.faults_of(*asked, charter=stage.charter), stage.coordinator)


def _several(options: argparse.Namespace) -> int:
    """Run every trial of the scenario's sweep and seeds, and show the table."""
    trials = plan_trials(
        options.scenario,
        out=options.out,
        run_id=options.run_id,
        resume=options.resume,
        settings=settings_of(options.settings),
    )
    say(trials.cost.sentence)
    again = f"{command('fedethics', 'simulate', options.scenario)} --resume {trials.path}"
    try:
        found = trials.run(data=options.data, tell=say)
    except KeyboardInterrupt:
        told(f"interrupted. Finished trials are kept. Continue with: {again}")
        return INTERRUPTED
    Terminal().print(trials_page.table(found))
    say(f"table    {trials.path / trials_page.TABLE}")
    say(f"page     {trials.path / trials_page.PAGE}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fedethics simulate")
    parser.add_argument("scenario", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--run-id", default="")
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--data", type=Path, default=Path(".data"))
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--diagnose", action="store_true")
    parser.add_argument("--until-census", action="store_true")
    for fault in ("--lose", "--late", "--poison"):
        parser.add_argument(fault, action="append", default=[])
    return parser.parse_args()


if __name__ == "__main__":
    memory.keep_private()
    sys.exit(main())
