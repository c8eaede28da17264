"""A search for settings on the simulated sites' own records: trials, the winner, the final run.

All runs are of the same sites with the same ledgers, which add them up as real ones would.
"""

from __future__ import annotations

import dataclasses

from rich.console import Console
from rich.text import Text

from fedethics.charter.model import Charter
from fedethics.cli.output import table
from fedethics.coordinator.job import STATE
from fedethics.privacy import search
from fedethics.release import durable, folder, searched
from fedethics.release.searched import Tried
from fedethics.simulation.federation import run_federation, simulate
from fedethics.simulation.staging import Stage


def simulate_search(
    console: Console, base: Stage, *, workers: int = 0, program: str = "fedethics"
) -> Stage:
    """Run every trial that is not finished yet, then the final run; return its stage.

    Args:
        console: where it is shown.
        base: the sites, under the charter that they signed.
        workers: processes that answer for the sites; 0 for this one.
        program: how a reader calls fedethics, for the commands that are suggested.

    Raises:
        FedethicsError: a run could not start or finish; what was committed stays.
    """
    costs, whole = search.costs(base.charter)
    console.print(
        Text(
            f"{base.charter.name}: a search over {len(costs) // 2} candidates on the sites' own "
            f"records. All runs together cost a trained unit at most epsilon {whole[0]:.3f}, a "
            f"held-out one {whole[1]:.3f}; the ledgers add them up."
        )
    )
    found = [_trial(console, base, one, workers) for one in costs if "trial" in one.phase]
    texts = [durable.read(stage.run_dir / folder.EVIDENCE).decode("utf-8") for stage in found]
    first = search.phase(base.charter, "final-1")
    trials = searched.tried(first, texts)
    best = searched.best(first, trials)
    console.print(table(*table_of(trials, base.charter, best)))
    final = of_phase(base, f"final-{best}")
    resume = (final.run_dir / STATE).exists()
    simulate(console, final, resume=resume, workers=workers, program=program)
    return final


def of_phase(base: Stage, phase: str) -> Stage:
    """Return the stage of one run of the search: the same sites, a job's directory of its own."""
    run_dir = base.run_dir / f"{base.run_dir.name}-{phase}"
    return dataclasses.replace(base, run_dir=run_dir, charter=search.phase(base.charter, phase))


def table_of(
    trials: tuple[Tried, ...], agreed: Charter, best: int
) -> tuple[str, tuple[str, ...], list[tuple[str, ...]]]:
    """Return title, heads and rows: each trial with what decided and what it cost."""
    metric = search.search_terms(agreed).select or ""
    rows: list[tuple[str, ...]] = [
        (
            f"{one.number}{' (best)' if one.number == best else ''}",
            one.said,
            f"{one.value:.4f} ({one.low:.4f} to {one.high:.4f})",
            f"{one.charter.privacy.training.epsilon:g}",
        )
        for one in trials
    ]
    return "Trials, from noised sums", ("candidate", "settings", metric, "epsilon, alone"), rows


def _trial(console: Console, base: Stage, run: search.PhaseCost, workers: int) -> Stage:
    stage = of_phase(base, run.phase)
    if not (stage.run_dir / folder.EVIDENCE).exists():
        console.print(Text(f"{run.phase}: {run.said}"))
        resume = (stage.run_dir / STATE).exists()
        run_federation(stage, resume=resume, workers=workers)
    return stage
