"""One simulated run as a command: from a scenario, or from a run to be continued, to its outcome.

`fedethics simulate` starts `python -m fedethics.simulation.command` as a process of its own, since
its own process starts without torch.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

# Before anything of Hugging Face is imported: never download.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from fedethics import memory, texts
from fedethics.cli.output import Terminal, say
from fedethics.commands import command
from fedethics.errors import FedethicsError
from fedethics.simulation import staging
from fedethics.simulation.scenario import Scenario, data_folder, load
from fedethics.simulation.staging import Stage

INTERRUPTED = 130


def staged(
    scenario: Path, *, out: Path, run_id: str, resume: Path | None, data: Path
) -> tuple[Scenario, Stage]:
    """Return the scenario, and its federation: made under `out`, or the one to be continued.

    Raises:
        FedethicsError: the scenario, its charter, its data or the run is not as it must be.
    """
    setup, draft = load(scenario)
    if resume is not None:
        return setup, staging.existing(resume)
    name = run_id or f"{setup.name}-{datetime.now():%Y%m%d-%H%M%S}"
    folder = data_folder(setup, data, base=scenario.parent)
    return setup, staging.build(
        setup, draft, base=scenario.parent, data_dir=folder, run_dir=out / name
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
            "interrupted. Committed rounds are kept; what the round in flight had reserved stays "
            "charged in the sites' ledgers. Continue with: "
            f"{again} --resume {stage.run_dir}"
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
        _, stage = staged(
            options.scenario,
            out=options.out,
            run_id=options.run_id,
            resume=options.resume,
            data=options.data,
        )
        # Late: it takes seconds to import torch, and a wrong file is answered at once.
        from fedethics.simulation.federation import simulate

        again = command("fedethics", "simulate", options.scenario)
        return finish(
            lambda: simulate(Terminal(), stage, resume=options.resume is not None),
            stage,
            again=again,
        )
    except FedethicsError as error:
        told(f"[{error.code}] {error}")
        return error.exit_code


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fedethics simulate")
    parser.add_argument("scenario", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--run-id", default="")
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--data", type=Path, default=Path(".data"))
    return parser.parse_args()


if __name__ == "__main__":
    memory.keep_private()
    sys.exit(main())
