"""Run a staged federation: the real coordinator over sites that answer in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.text import Text

from fedethics import texts
from fedethics.coordinator.events import EventLog
from fedethics.coordinator.job import RunSettings
from fedethics.coordinator.run import run_job
from fedethics.coordinator.transport import Fault, InProcess, no_fault
from fedethics.identity import Identity
from fedethics.privacy.plan import make_plan
from fedethics.protocol import Reply, Request
from fedethics.release import comparisons, folder
from fedethics.release.comparisons import Comparisons
from fedethics.release.publish import publish
from fedethics.simulation import foreseen
from fedethics.simulation.faults import document_of, kept
from fedethics.simulation.screen import Screen, show
from fedethics.simulation.staging import Stage
from fedethics.simulation.workers import InWorkers, workers_of
from fedethics.site import answering
from fedethics.site.handler import SiteHandler
from fedethics.site.home import SiteHome

Tick = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Baselines:
    """What a run is compared with, once it is over.

    Attributes:
        steps: how often `run` will call its tick.
        run: computes the comparisons, and tells of each step.
    """

    steps: int
    run: Callable[[Tick], Comparisons]


def run_federation(
    stage: Stage,
    *,
    resume: bool = False,
    lost: Fault = no_fault,
    until_census: bool = False,
    workers: int = 0,
) -> Path:
    """Run one job, or what is left of it, and return the run's directory.

    Args:
        stage: the federation, with the faults that are kept beside its charter.
        resume: continue it after its last committed round.
        lost: says which other requests are lost on the way.
        until_census: pause before anything is trained.
        workers: processes that answer for the sites; 0 for this one.

    Raises:
        FedethicsError: the job cannot start or finish; what was committed stays.
    """
    faults = kept(stage.coordinator)
    # The coordinator's model is the sites' own: they were made with the same folders.
    home = SiteHome.open(next(iter(stage.homes.values())))
    settings = RunSettings(
        coordinator_home=str(stage.coordinator),
        job_dir=str(stage.run_dir),
        job_id=stage.run_dir.name,
        model_dir=str(home.model_dir or ""),
        start_dir=str(home.start_dir or ""),
        phase=(stage.charter.tuning and stage.charter.tuning.phase) or "",
        resume=resume,
        until_census=until_census,
    )

    def is_lost(site: str, request: Request) -> bool:
        return lost(site, request) or faults.lost(site, request)

    if faults.any:
        # A reader of the log learns that the run was disturbed on purpose.
        EventLog(stage.run_dir).write("simulated-faults", **document_of(faults))
    if workers:
        # The sites' own folder: runs of a search share it.
        with workers_of(stage.coordinator.parent, min(workers, len(stage.homes))) as found:
            names = tuple(stage.homes)
            run_job(InWorkers(names, found, lost=is_lost, late=faults.too_late), settings)
        return stage.run_dir
    sites = {
        site: partial(_answer, home, faults.handler(site, home))
        for site, home in stage.homes.items()
    }
    run_job(InProcess(sites, lost=is_lost, late=faults.too_late), settings)
    return stage.run_dir


def _answer(home: Path, handler: SiteHandler | None, request: Request) -> Reply:
    return answering.answer(home, lambda: request, handler=handler)


def simulate(
    console: Console,
    stage: Stage,
    *,
    resume: bool = False,
    baselines: Baselines | None = None,
    program: str = "fedethics",
    workers: int = 0,
) -> None:
    """Run the federation of `stage`, then its baselines, and print the outcome.

    Args:
        console: where it is shown.
        stage: the federation.
        resume: continue it after its last committed round.
        baselines: what the report compares it with; nothing where absent.
        program: how a reader calls fedethics, for the commands that are suggested.
        workers: processes that answer for the sites; 0 for this one.

    Raises:
        FedethicsError: the run could not start or finish.
    """
    charter = stage.charter
    console.print(
        Text.assemble(
            (charter.name, "bold"),
            f": {len(stage.homes)} sites, {charter.training.rounds} rounds. "
            f"{texts.in_line(charter.data.source)}. Simulated on one machine; every site has its "
            "own keys and ledger.",
        )
    )
    if not resume:
        console.print(Text("Before anything is spent: what the gate can conclude", style="bold"))
        for sentence in foreseen.verdicts(stage):
            console.print(Text(sentence))
    steps = charter.training.rounds + len(make_plan(charter).progress.rounds) + 1
    screen = Screen(console)
    found = None
    with screen.follow(stage.run_dir, steps=steps + (baselines.steps if baselines else 0)):
        run_federation(stage, resume=resume, workers=workers)
        if baselines is not None:
            found = baselines.run(screen.tick)
            comparisons.write(found, stage.run_dir / folder.COMPARISONS)
    report = publish(stage.run_dir, Identity.load(stage.coordinator / "identity.key"))
    show(console, stage, report, found, program=program)
