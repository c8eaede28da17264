"""A scenario: one charter draft, the sites with their data, and what to compare with."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fedethics import terms
from fedethics.charter import document
from fedethics.charter.model import Charter
from fedethics.data.file_terms import DataTable
from fedethics.errors import RunError
from fedethics.simulation.partition import Partitioner, Taker, prepare
from fedethics.terms import NAME, term


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteSetup:
    """One simulated institution.

    Attributes:
        name: its name on the roster.
        data: file of the data set's directory, or of the partition's where one is given; or a table
            that says how the file is read, too, as a site's own `[data]`.
        holds: values of the partition's column that are this site's, for kind "by-column".
        declared_records: training size that it publishes.
        policy: its policy file, relative to the scenario.
    """

    name: str = term(pattern=NAME)
    data: str | DataTable = term(nonempty=True)
    declared_records: int = term(at_least=1)
    policy: str = term(nonempty=True)
    holds: tuple[str, ...] = term(default=())


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonSetup:
    """What the report shows beside the federation.

    Attributes:
        seeds: adapter seeds; every comparison is run with each.
        epsilons: training epsilons to try besides the charter's.
    """

    seeds: tuple[int, ...] = term(nonempty=True, at_least=0)
    epsilons: tuple[float, ...] = term(default=(), above=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class RepeatSetup:
    """The whole federation run again, once with each seed.

    Attributes:
        seeds: each is the adapter's seed of one run; with `test-noise-seed`, it fixes that run's
            noise together with it.
    """

    seeds: tuple[int, ...] = term(nonempty=True, at_least=0)

    def problems(self) -> list[str]:
        """Refuse a seed that is listed twice: it would count as another run."""
        twice = len(set(self.seeds)) < len(self.seeds)
        return ["seeds: one is listed twice"] if twice else []


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepSetup:
    """The federation run with each combination of settings, and with each seed of `[repeat]`.

    Attributes:
        set_: as the option `--set`, with a list of values: "training.rounds=[1, 3]".
        budget: the most epsilon that all runs together would cost one record, were the records
            real; a sweep above it is not begun. Absent for no limit.
    """

    set_: tuple[str, ...] = term(nonempty=True)
    budget: float | None = term(default=None, above=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """One simulation, as configs/*.toml describes it.

    Attributes:
        name: start of every run id.
        charter: draft of the charter, relative to the scenario.
        dataset: name in `python -m simulations.datasets`; empty with `data_dir`.
        data_dir: directory with a file for each site, relative to the scenario; empty with
            `dataset`.
        partition: how the pooled records are dealt out to the sites; none where the data set has
            a file for each site already.
        model_dir: directory of the base model, relative to the scenario; empty for the embedded
            one.
        start_dir: directory of the release whose adapter the charter starts from, relative to the
            scenario; empty for none.
        scorer_dirs: directories of text classifiers, as "toxicity=models/toxicity", relative to the
            scenario.
        test_noise_seed: fixes all noise at all sites, for tests only; empty in real use.
        repeat: seeds with which the federation is run; absent for one run.
        sweep: settings with which it is run; absent for the charter's alone.
    """

    name: str = term(pattern=NAME)
    charter: str = term(nonempty=True)
    dataset: str = term(default="")
    data_dir: str = term(default="")
    sites: tuple[SiteSetup, ...] = term(nonempty=True)
    comparisons: ComparisonSetup = term()
    partition: Partitioner | None = term(default=None)
    model_dir: str = term(default="")
    start_dir: str = term(default="")
    scorer_dirs: tuple[str, ...] = term(default=(), pattern=r"[a-z][a-z0-9_]*=.+")
    test_noise_seed: str = term(default="")
    repeat: RepeatSetup | None = term(default=None)
    sweep: SweepSetup | None = term(default=None)

    def problems(self) -> list[str]:
        """Check that no site is listed twice, and that one place is named for the data."""
        names = [site.name for site in self.sites]
        found = ["sites: a name is listed twice"] if len(set(names)) < len(names) else []
        if bool(self.dataset) == bool(self.data_dir):
            found.append("dataset, data-dir: give exactly one of the two")
        if self.data_dir and self.partition:
            found.append(
                "partition: divides a data set; each file in data-dir already belongs to one site"
            )
        return found


def data_folder(scenario: Scenario, root: Path, *, base: Path) -> Path:
    """Return the folder with the sites' files, dealt out first where the scenario says so.

    Args:
        scenario: the data set, the sites and perhaps a partition.
        root: directory of all data sets.
        base: directory that the scenario's relative paths start from.

    Raises:
        RunError: the data set is not there, or cannot be dealt out as asked.
    """
    if scenario.data_dir:
        return base / scenario.data_dir
    folder = root / scenario.dataset
    if scenario.partition is None:
        return folder
    takers = [Taker(name=site.name, holds=site.holds) for site in scenario.sites]
    return prepare(scenario.partition, takers, dataset=scenario.dataset, data_dir=folder)


def settings_of(pairs: Sequence[str]) -> dict[str, Any]:
    """Return what options `key=value` set: each value as TOML, or else as a text.

    Raises:
        RunError: an option without a key or value, or a key that is given twice.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key = key.strip()
        if not equals or not key or key in found:
            why = "stands twice" if key in found else "is no KEY=VALUE, such as training.rounds=3"
            raise RunError(f"--set {pair!r} {why}. Nothing was started")
        try:
            found[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[key] = value
    return found


def run_name(asked: str, scenario: str) -> str:
    """Return the name of a run's directory: the one asked for, or the scenario's and the time.

    Raises:
        RunError: the name would lead out of the folder of runs.
    """
    if asked and (Path(asked).name != asked or asked == ".." or "\\" in asked):
        raise RunError(
            f"run-id {asked!r} is no name of one directory; nothing was started. Say with `out` "
            "where run directories are made"
        )
    return asked or f"{scenario}-{datetime.now():%Y%m%d-%H%M%S}"


def load(path: Path, *, settings: Mapping[str, Any] | None = None) -> tuple[Scenario, Charter]:
    """Read a scenario and its charter draft.

    Args:
        path: of the scenario.
        settings: keys of the charter that are set otherwise for this run.

    Raises:
        RunError: the scenario is unreadable or malformed; every problem at once.
        CharterError: its charter is.
    """
    problems: list[str] = []
    scenario = terms.read(Scenario, terms.load_toml(path, RunError), path="", problems=problems)
    if problems or scenario is None:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise RunError(f"{path} is not a valid scenario; nothing was started:\n{listed}")
    charter = path.parent / scenario.charter
    return scenario, document.load_set(charter, settings) if settings else document.load(charter)
