"""The public API behind `import fedethics`: plan, simulate, open and examine a run.

Nothing heavy is imported before it is asked for: planning a budget or reading a run starts without
torch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedethics.charter.model import Charter
    from fedethics.fairness.layout import Tables
    from fedethics.release.gate import GateReport
    from fedethics.release.rules.rule import Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class Spend:
    """What a run costs one unit of one site, as (epsilon, delta) under add-or-remove-one.

    A unit's records are either trained on or held out, so it pays one of the two.

    Attributes:
        training: epsilon of all rounds of training; infinite without differential privacy.
        evaluation: epsilon of everything that is measured of held-out units.
        delta: of both.
        unit: "record" or "person": whose presence the guarantee hides.
        noise_multiplier: standard deviation of the noise of training over the clipping norm; None
            without differential privacy.
    """

    training: float
    evaluation: float
    delta: float
    unit: str
    noise_multiplier: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSetSpend:
    """What one data set of a site's ledger has ever spent.

    Attributes:
        data_set: "train" or "held-out".
        fingerprint: SHA-256 that names the records.
        unit: "record" or "person": whose presence the guarantee hides.
        epsilon: of everything that was charged, composed, under add-or-remove-one; infinite where
            something was charged without differential privacy.
        delta: the delta of this epsilon.
        charges: entries that count.
    """

    data_set: str
    fingerprint: str
    unit: str
    epsilon: float
    delta: float
    charges: int


@dataclass(frozen=True, slots=True)
class Run:
    """A run's directory, finished by `simulate` or by a real federation.

    Attributes:
        path: the directory, with the evidence, the candidate adapter and the report.
    """

    path: Path

    def __post_init__(self) -> None:
        """Take a path that was given as text, too."""
        object.__setattr__(self, "path", Path(self.path))

    @property
    def report(self) -> Path:
        """The report: one HTML page that opens offline."""
        return self.path / "report.html"

    def charter(self) -> Charter:
        """Return the charter that the run followed."""
        from fedethics.release import folder

        return folder.load(self.path).charter

    def tables(self) -> Tables:
        """Return the group tables as they were opened: sums over the sites, with their noise.

        Raises:
            ReleaseError: not a run directory, or one that is damaged.
        """
        from fedethics.release import folder

        return folder.load(self.path).tables

    def examine(self) -> GateReport:
        """Judge the run again from its evidence; see `examine`."""
        return examine(self.path)

    @property
    def verdict(self) -> Outcome:
        """What the gate says: "pass", "fail", "cannot conclude" or "not informative".

        Judged again from the evidence each time.
        """
        return self.examine().verdict

    def spent(self) -> Mapping[str, tuple[DataSetSpend, ...]]:
        """Return what each simulated site's ledger has spent, at the charter's delta.

        Empty for a run of real sites: their ledgers stay with them.

        Raises:
            LedgerError: a ledger that is damaged.
        """
        delta = self.charter().privacy.delta
        ledgers = sorted(self.path.glob("sites/*/ledger.db"))
        return {one.parent.name: read_ledger(one, delta=delta) for one in ledgers}


@dataclass(frozen=True, slots=True)
class Sweep:
    """The directory of several runs of one scenario, finished by `sweep`.

    Attributes:
        path: the directory, with one directory for each run.
    """

    path: Path

    def __post_init__(self) -> None:
        """Take a path that was given as text, too."""
        object.__setattr__(self, "path", Path(self.path))

    @property
    def runs(self) -> tuple[Run, ...]:
        """The finished runs, in the order of their names."""
        found = sorted(self.path.glob("*/evidence.json"))
        return tuple(Run(one.parent) for one in found)

    @property
    def table(self) -> Path:
        """A CSV file: a line for each run, with its settings and what the gate measured."""
        return self.path / "trials.csv"

    @property
    def page(self) -> Path:
        """An HTML page that opens offline: what it would have cost, plots and a table."""
        return self.path / "trials.html"


def load_charter(path: str | Path) -> Charter:
    """Read and validate a charter, as TOML or as a run's `charter.json`.

    Raises:
        CharterError: it is not valid; every problem at once.

    Example:
        >>> charter = fedethics.load_charter("configs/heart.charter.toml")
        >>> charter.privacy.delta
        0.0001
    """
    from fedethics.charter import document

    return document.load(Path(path))


def epsilon(charter: Charter) -> Spend:
    """Return what a run of `charter` costs, by the accountant of record.

    A pure function of the charter: every site computes it for itself before it takes part.

    Raises:
        AccountingError: no noise makes the run fit the charter's epsilon.
    """
    from fedethics.privacy.plan import make_plan

    plan = make_plan(charter)
    return Spend(
        training=plan.training.epsilon,
        evaluation=plan.evaluation.epsilon,
        delta=plan.delta,
        unit=charter.privacy.unit,
        noise_multiplier=plan.update.noise_multiplier,
    )


def simulate(
    scenario: str | Path | Mapping[str, Any],
    *,
    label: str = "",
    sensitive: Sequence[str] = (),
    text: str | Sequence[str] = (),
    model: str | Path | None = None,
    drop_unlabelled: bool = False,
    name: str = "frames",
    out: str | Path = "runs",
    data: str | Path = ".data",
    run_id: str = "",
    resume: str | Path | None = None,
    set: Mapping[str, Any] | None = None,
    workers: int = 0,
) -> Run:
    """Run a federation on this machine: the real coordinator and sites, each site with its ledger.

    Noise and keys come from the operating system. No data set is fetched.

    From frames, the charter is the draft that `fedethics new` would write of them. It lies in
    `<out>/drafts/<run>`, with copies of the records and a scenario that can be run again.

    Args:
        scenario: a TOML file that names charter, sites and data; or a frame for each site, by its
            name: of pandas, polars or pyarrow, a table of columns, or a list of records.
        label: of frames: the column to predict.
        sensitive: of frames: columns whose groups are compared; else found by their names.
        text: of frames: columns of free text.
        model: of frames: the base model's folder; by default the embedded one.
        drop_unlabelled: of frames: leave out records without a label, in place of an error.
        name: of frames: of the charter, and the start of the run's name.
        out: directory of all runs.
        data: directory of all data sets.
        run_id: name of this run; by default the scenario's name and the time.
        resume: directory of a run to continue after its last committed round.
        set: keys of the charter for this run: {"training.rounds": 3}.
        workers: processes that the sites are spread over; 0 for this one.

    Raises:
        FedethicsError: the scenario, charter, data, a frame or the run is not as it must be.

    Example:
        >>> hospitals = {"north": north, "south": south, "west": west}  # pandas data frames
        >>> fedethics.simulate(hospitals, label="died", sensitive=["sex"]).verdict
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before it is imported: never download
    if isinstance(scenario, str | Path):
        given = {"label": label, "sensitive": sensitive, "text": text, "model": model}
        path = _scenario_alone(Path(scenario), given)
    else:
        from fedethics.drafting.frames import drafted

        path, run_id = drafted(
            scenario, label=label, sensitive=sensitive, text=text, model=model, name=name,
            drop_unlabelled=drop_unlabelled, out=out, run_id=run_id, resumed=bool(resume),
        )  # fmt: skip
    return _run(
        path, out=out, run_id=run_id, resume=resume, data=data, settings=set, workers=workers
    )


def sweep(
    scenario: str | Path,
    *,
    out: str | Path = "runs",
    data: str | Path = ".data",
    run_id: str = "",
    resume: str | Path | None = None,
    set: Mapping[str, Any] | None = None,
) -> Sweep:
    """Run a scenario's `[sweep]` and `[repeat]`: a whole federation for each point and seed.

    Args:
        scenario: the scenario's TOML file.
        out: directory of all runs.
        data: directory of all data sets.
        run_id: name of the sweep; by default the scenario's name and the time.
        resume: directory of a sweep to continue; finished runs are kept.
        set: keys of the charter that are set otherwise in every run.

    Raises:
        FedethicsError: the scenario or a combination of settings is not as it must be, or all runs
            together would cost more epsilon than the sweep's budget: nothing was started. Or a run
            could not finish.

    Example:
        >>> found = fedethics.sweep("configs/heart-sweep.toml")
        >>> [run.verdict for run in found.runs]
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from fedethics.simulation.trials import plan_trials

    planned = plan_trials(
        Path(scenario),
        out=Path(out),
        run_id=run_id,
        resume=None if resume is None else Path(resume),
        settings=set,
    )
    planned.run(data=Path(data))
    return Sweep(planned.path)


def _run(
    scenario: Path,
    *,
    out: str | Path,
    run_id: str,
    resume: str | Path | None,
    data: str | Path,
    settings: Mapping[str, Any] | None,
    workers: int = 0,
) -> Run:
    from fedethics.identity import Identity
    from fedethics.release.publish import publish
    from fedethics.simulation.command import staged
    from fedethics.simulation.federation import run_federation

    _, stage = staged(
        scenario,
        out=Path(out),
        run_id=run_id,
        resume=None if resume is None else Path(resume),
        data=Path(data),
        settings=settings,
    )
    run_federation(stage, resume=resume is not None, workers=workers)
    publish(stage.run_dir, Identity.load(stage.coordinator / "identity.key"))
    return Run(stage.run_dir)


def _scenario_alone(path: Path, of_frames: Mapping[str, object]) -> Path:
    """Return the scenario's file, which says by itself what options would say of frames."""
    from fedethics.errors import RunError

    if given := [name for name, value in of_frames.items() if value]:
        raise RunError(
            f"{', '.join(given)}: options of data frames; {path} names a charter that says it "
            "already. Nothing was started"
        )
    return path / "scenario.toml" if path.is_dir() else path


def examine(run: str | Path) -> GateReport:
    """Judge a run from its evidence: objectives, budget, audit, signatures, integrity.

    Args:
        run: the run's directory.

    Raises:
        ReleaseError: not a run directory, or a file is missing or malformed.
        CharterError: its `charter.json` is not a charter with a roster.
    """
    from fedethics.release import gate

    return gate.examine(Path(run))


def read_ledger(path: str | Path, *, delta: float = 1e-4) -> tuple[DataSetSpend, ...]:
    """Verify a site's ledger and return what each of its data sets has spent.

    Guarantee: nothing is written or charged.

    Args:
        path: the ledger.db.
        delta: the delta of the epsilons; the same for every data set.

    Raises:
        LedgerError: not a ledger, or one whose chain or signatures are broken.
    """
    from fedethics.privacy.ledger import read_book

    book = read_book(Path(path))
    return tuple(
        DataSetSpend(
            data_set=one.label,
            fingerprint=one.fingerprint,
            unit=book.unit_of(one),
            epsilon=book.spent(one, delta=delta),
            delta=delta,
            charges=len(list(book.counted(one))),
        )
        for one in book.data_sets()
    )
