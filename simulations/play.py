"""Play a staged federation from start to end: run, compare, publish, show."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from fedethics import texts
from fedethics.identity import Identity
from fedethics.privacy.plan import make_plan
from fedethics.release import comparisons as comparison_file
from fedethics.release import folder
from fedethics.release.publish import publish
from fedethics.site.home import SiteHome
from simulations.comparisons import compare, count_fits
from simulations.federation import run_federation
from simulations.loopback import Fault, no_fault
from simulations.scenario import Scenario
from simulations.screen import Screen
from simulations.staging import Stage
from simulations.summary import show


def play(
    console: Console,
    stage: Stage,
    scenario: Scenario,
    *,
    resume: bool = False,
    comparisons: bool = True,
    lost: Fault = no_fault,
) -> None:
    """Run the federation of `stage`, then what it is compared with, and print the outcome.

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
    plan = make_plan(charter)
    steps = charter.training.rounds + len(plan.progress_rounds) + 1
    extra = count_fits(charter, scenario.comparisons) if comparisons else 0
    screen = Screen(console)
    found = None
    with screen.follow(stage.run_dir, steps=steps + extra):
        run_federation(stage, resume=resume, lost=lost)
        if comparisons:
            found = compare(charter, _files(stage), scenario.comparisons, tick=screen.tick)
            comparison_file.write(found, stage.run_dir / folder.COMPARISONS)
    report = publish(stage.run_dir, Identity.load(stage.coordinator / "identity.key"))
    show(console, stage, report, found)


def _files(stage: Stage) -> dict[str, Path]:
    return {site: SiteHome.open(home).data_path for site, home in stage.homes.items()}
