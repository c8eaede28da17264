"""Several federations of one scenario: a grid of settings, and seeds.

Each trial is a whole federation in a directory of its own, with fresh keys and ledgers. Simulated
sites are born with their run, so no ledger holds the trials together: what all of them would cost
one record of a real site is computed here, composed, and said before the first one begins.

Guarantee: a trial's settings, seed and name follow from the scenario alone, so that a sweep that
was interrupted goes on with the same trials. With `test-noise-seed` in the scenario, equal settings
give equal adapters, tables and CSV files, byte for byte; without it, noise is fresh each time.
"""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedethics import canonical
from fedethics.canonical import Json
from fedethics.charter.model import Charter
from fedethics.errors import RunError
from fedethics.identity import Identity
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.plan import make_plan
from fedethics.release import durable, folder
from fedethics.release.gate import GateReport, examine
from fedethics.simulation import staging, trials_page
from fedethics.simulation.scenario import Scenario, load, run_name, settings_of
from fedethics.simulation.staging import Stage
from fedethics.simulation.trials_page import Finished, Trial

# What a sweep's directory is known by: its trials, as they were planned.
PLAN = "trials.json"
_SEED = "adapter.seed"
_STATE = "state.json"
Tell = Callable[[str], None]
Runner = Callable[[Stage, bool], object]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What all trials together would cost one unit of a real site, at `delta`.

    Attributes:
        training, evaluation: epsilon of a unit that is trained on, and of one held out; composed by
            the accountant of record; infinite where a trial has no differential privacy.
        largest: the largest epsilon of one trial alone.
        count: trials.
    """

    training: float
    evaluation: float
    largest: float
    delta: float
    count: int
    unit: str

    @property
    def sentence(self) -> str:
        """Say it plainly."""
        return (
            f"{self.count} runs. Were these records real, all runs together would cost each "
            f"{self.unit} that is trained on epsilon {_shown(self.training)}, and each that is "
            f"held out epsilon {_shown(self.evaluation)}, at delta {self.delta:g} (composed; one "
            f"run alone at most {_shown(self.largest)}). The ledgers of simulated sites begin "
            "with each run and do not add it up; a real site's ledger would"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Trials:
    """A planned sweep or repetition.

    Attributes:
        path: its directory, with a directory for each trial.
        scenario: the scenario's file.
        trials: in the order in which they are run.
        cost: of all of them.
    """

    path: Path
    scenario: Path
    trials: tuple[Trial, ...]
    cost: Cost

    def run(
        self, *, data: Path, tell: Tell | None = None, runner: Runner | None = None
    ) -> tuple[Finished, ...]:
        """Run what is left, write the table and the page, and return every trial's outcome.

        Args:
            data: directory of all data sets.
            tell: is told of each trial.
            runner: runs one staged federation, given whether it is resumed; the real one if absent.

        Raises:
            FedethicsError: a trial could not start or finish. Finished ones are kept.
        """
        tell = tell or _untold
        found = []
        for trial in self.trials:
            run_dir = self.path / trial.name
            if not (run_dir / folder.EVIDENCE).exists():
                tell(f"{trial.name} of {len(self.trials)}: {trial.said}")
                stage, begun = self._stage(trial, data)
                (runner or run_trial)(stage, begun)
            found.append(finished(trial, run_dir))
            # Whole each time, so that an interrupted sweep shows what it has.
            trials_page.write(found, self.path, sentence=self.cost.sentence)
        return tuple(found)

    def _stage(self, trial: Trial, data: Path) -> tuple[Stage, bool]:
        """Return the trial's federation, and whether it had begun."""
        run_dir = self.path / trial.name
        if (run_dir / _STATE).exists():
            return staging.existing(run_dir), True
        if run_dir.exists():
            shutil.rmtree(run_dir)  # it died while its keys were made: nothing was asked or charged
        setup, draft = load(self.scenario, settings=trial.all_settings)
        if setup.test_noise_seed and trial.seed is not None:
            seed = f"{setup.test_noise_seed}/{trial.seed}"
            setup = dataclasses.replace(setup, test_noise_seed=seed)
        stage = staging.of_scenario(
            setup,
            draft,
            base=self.scenario.parent,
            data=data,
            run_dir=run_dir,
            settings=trial.all_settings,
        )
        return stage, False


def is_several(scenario: Path, resume: Path | None) -> bool:
    """Say whether the scenario asks for more than one run, or what is resumed is such a sweep.

    Raises:
        RunError: the scenario is unreadable or malformed.
    """
    if resume is not None:
        return (resume / PLAN).exists()
    setup, _ = load(scenario)
    return setup.sweep is not None or setup.repeat is not None


def plan_trials(
    scenario: Path,
    *,
    out: Path,
    run_id: str = "",
    resume: Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Trials:
    """Return the trials of a scenario, and write them down; nothing is run.

    Args:
        scenario: its file, with `[sweep]` or `[repeat]`.
        out: directory of all runs.
        run_id: name of the sweep's directory; by default the scenario's name and the time.
        resume: directory of a sweep to continue.
        settings: keys of the charter that are set otherwise in every trial.

    Raises:
        RunError: no sweep, a key that is set twice, more epsilon than the sweep's budget, or a
            resumed directory with other trials.
        CharterError: a combination of settings is no valid charter.
    """
    setup, _ = load(scenario)
    trials = trials_of(setup, settings or {})
    cost = cost_of([load(scenario, settings=trial.all_settings)[1] for trial in trials])
    _require_affordable(setup, cost)
    planned: dict[str, Json] = {"trials": [trial.document for trial in trials]}
    if resume is None:
        path = out / run_name(run_id, setup.name)
        if path.exists():
            raise RunError(
                f"{path} exists already; nothing was overwritten. Choose another --run-id, or "
                f"continue it with --resume {path}"
            )
        path.mkdir(mode=0o755, parents=True)
        durable.write(path / PLAN, canonical.encode(planned))
    else:
        path = resume
        if durable.read(path / PLAN) != canonical.encode(planned):
            raise RunError(
                f"{path} holds other trials than {scenario} asks for now; nothing was started. "
                "Undo the change of the scenario, leave --set as it was, or start a new sweep"
            )
    return Trials(path=path, scenario=scenario, trials=trials, cost=cost)


def trials_of(setup: Scenario, settings: Mapping[str, Any]) -> tuple[Trial, ...]:
    """Return the trials of a scenario: each combination of settings with each seed.

    Raises:
        RunError: no sweep and no seeds, a key without a list of values, or one that is set twice.
    """
    if setup.sweep is None and setup.repeat is None:
        raise RunError("the scenario has neither [sweep] nor [repeat]; nothing was started")
    grid = settings_of(setup.sweep.set_) if setup.sweep else {}
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise RunError(
                f"[sweep] set {key}: needs a list of values, such as {key}=[1, 2]; nothing was "
                "started"
            )
    seeds: Sequence[int | None] = setup.repeat.seeds if setup.repeat else (None,)
    twice = set(settings) & set(grid) | ({_SEED} & {*settings, *grid} if setup.repeat else set())
    if twice:
        raise RunError(
            f"{', '.join(sorted(twice))}: set for every trial and by [sweep] or [repeat] as well; "
            "nothing was started"
        )
    points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    pairs = itertools.product(points, seeds)
    return tuple(
        Trial(number=number, point=point, seed=seed, base=dict(settings))
        for number, (point, seed) in enumerate(pairs, start=1)
    )


def cost_of(charters: Sequence[Charter]) -> Cost:
    """Return what runs of all these charters together would cost one unit of the same records.

    Args:
        charters: of the runs, not empty. The smallest of their deltas is used.
    """
    delta = min(charter.privacy.delta for charter in charters)
    plans = [make_plan(charter) for charter in charters]
    return Cost(
        training=epsilon([e for plan in plans for e in plan.training.events], delta=delta),
        evaluation=epsilon([e for plan in plans for e in plan.evaluation.events], delta=delta),
        largest=max(max(plan.training.epsilon, plan.evaluation.epsilon) for plan in plans),
        delta=delta,
        count=len(charters),
        unit=charters[0].privacy.unit,
    )


def finished(trial: Trial, run_dir: Path) -> Finished:
    """Return what a finished trial came to, judged again from its evidence."""
    report: GateReport = examine(run_dir)
    return Finished(trial=trial, verdict=report.verdict, rules=report.rules)


def _require_affordable(setup: Scenario, cost: Cost) -> None:
    budget = setup.sweep.budget if setup.sweep else None
    worst = max(cost.training, cost.evaluation)
    if budget is not None and worst > budget:
        raise RunError(
            f"the sweep would cost epsilon {_shown(worst)} at delta {cost.delta:g}, more than its "
            f"budget {budget:g} ({cost.count} runs, composed); nothing was started. Leave out "
            "values or seeds, lower the epsilon of a run, or raise [sweep] budget"
        )


def run_trial(stage: Stage, resume: bool) -> None:
    """Run one trial's federation, and write what its examiners read."""
    # Late: it takes seconds to import torch, and a wrong sweep is answered at once.
    from fedethics.release.publish import publish
    from fedethics.simulation.federation import run_federation

    run_federation(stage, resume=resume)
    publish(stage.run_dir, Identity.load(stage.coordinator / "identity.key"))


def _untold(_said: str) -> None:
    """Say nothing."""


def _shown(value: float) -> str:
    return f"{value:.2f}" if value < float("inf") else "infinity (no differential privacy)"
