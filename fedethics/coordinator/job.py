"""A job: what its operator chose, what was agreed, and every committed step on disk.

Flower refuses unknown keys of a run config but lets wrong types pass, so `RunSettings` checks it.
Nothing there is a privacy term; privacy terms are in the charter, which each site holds for itself.

Each step is written whole (temporary file, fsync, rename) before the next begins. What lies between
two commits is in the protocol's own files (`protocol_files.py`).
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedethics import canonical, terms
from fedethics.charter import document
from fedethics.charter.model import Charter
from fedethics.charter.signing import CharterSignature, load_signatures, signatures_path
from fedethics.errors import ReleaseError, RunError
from fedethics.identity import Identity
from fedethics.privacy import search
from fedethics.release import durable, searched
from fedethics.release.evidence import Counted, OpenedSum, Progress, Steering
from fedethics.release.folder import EVIDENCE
from fedethics.server_optimizers import find_server_optimizer
from fedethics.storage import locks
from fedethics.terms import term

STATE = "state.json"
LOCK = "lock"
_LOOK_S = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSettings:
    """What the coordinator's operator chooses for one run.

    Attributes:
        job_dir: directory of the run; made when the run starts, continued when `resume` is set.
        job_id: name of the run in every message and ledger; the same when it is resumed.
        coordinator_home: directory with charter.json and the coordinator's identity.key.
        model_dir: directory of the base model; empty for the embedded one.
        start_dir: directory of the release whose adapter the charter starts from; empty for none.
        leg_timeout_s: how long to wait for the slowest site to train or measure.
        relay_timeout_s: how long to wait in every other exchange; 0 for as long as `leg_timeout_s`.
        phase: of a charter with a search: which of its runs this is, such as "trial-2"; the name
            of the run ends with it. A final run finds its trials beside `job_dir`.
        resume: continue the job in `job_dir` after its last committed round.
        until_census: end this run before anything is trained, once the census is opened.
        node_names: site's name of each node that the SuperLink admits, as "NODE=NAME,...", for the
            event log only; whose an answer is, its signature says.
    """

    job_dir: str = term(nonempty=True)
    job_id: str = term(pattern=r"[a-z0-9][a-z0-9-]{0,62}")
    coordinator_home: str = term(nonempty=True)
    model_dir: str = term(default="")
    start_dir: str = term(default="")
    leg_timeout_s: float = term(default=600.0, above=0)
    relay_timeout_s: float = term(default=0.0, at_least=0)
    phase: str = term(default="", pattern=r"((trial|final)-[1-9][0-9]?)?")
    resume: bool = term(default=False)
    until_census: bool = term(default=False)
    node_names: str = term(default="", pattern=r"([0-9]+=[a-z0-9-]+(,[0-9]+=[a-z0-9-]+)*)?")

    @classmethod
    def from_run_config(cls, config: Mapping[str, bool | int | float | str]) -> RunSettings:
        """Check the flat run config.

        Raises:
            RunError: a key is missing, has the wrong type or is out of range; all at once.
        """
        problems: list[str] = []
        settings = terms.read(cls, dict(config), path="", problems=problems)
        if problems or settings is None:
            listed = "\n".join(f"  - {problem}" for problem in problems)
            raise RunError(f"the run config is not valid; nothing was started:\n{listed}")
        return settings

    @property
    def job_path(self) -> Path:
        """The run's directory."""
        return Path(self.job_dir)

    @property
    def names_of_nodes(self) -> dict[int, str]:
        """Site's name of each admitted node."""
        pairs = (pair.split("=") for pair in self.node_names.split(",") if pair)
        return {int(node): name for node, name in pairs}

    @property
    def model_path(self) -> Path | None:
        """Directory of the base model, or None for the embedded one."""
        return Path(self.model_dir) if self.model_dir else None

    @property
    def start_path(self) -> Path | None:
        """Directory of the release that the charter starts from, or None."""
        return Path(self.start_dir) if self.start_dir else None


@dataclass(frozen=True, kw_only=True, slots=True)
class JobState:
    """What has been committed.

    Attributes:
        started: when the job first started (ISO 8601, UTC).
        epochs: how many epochs were begun; the next one's number, so keys are never reused.
        committed_round: the last training round whose sum is in the adapter.
        sums: every sum that was opened.
        progress: opened light evaluations.
        fairness: opened fairness tables; empty until the final evaluation.
        steering: opened counts of training records, oldest first, each one flat table.
        audit: opened histograms of the membership audit; empty until then, or without.
        counted: opened sums of all other kinds; absent without.
    """

    started: str = term()
    epochs: int = term(default=0, at_least=0)
    committed_round: int = term(default=0, at_least=0)
    sums: tuple[OpenedSum, ...] = term(default=())
    progress: tuple[Progress, ...] = term(default=())
    fairness: tuple[int, ...] = term(default=())
    steering: tuple[Steering, ...] = term(default=())
    audit: tuple[int, ...] = term(default=())
    counted: tuple[Counted, ...] | None = term(default=None)


@dataclass(slots=True)
class Job:
    """One job: charter with its signatures, coordinator identity and committed state.

    Attributes:
        trials: of a search's final run: the evidence of each trial.
    """

    path: Path
    charter: Charter
    charter_hash: str
    identity: Identity
    state: JobState
    signatures: tuple[CharterSignature, ...] = ()
    trials: tuple[str, ...] | None = None

    @classmethod
    def open(cls, settings: RunSettings) -> Job:
        """Start a new job, or continue the one in the directory when `resume` is set.

        Raises:
            RunError: the directory holds a job already and `resume` is not set, or it is set and
                there is none, or it was run under another charter.
        """
        home, path = Path(settings.coordinator_home), settings.job_path
        charter = _of_phase(document.load(home / "charter.json"), settings)
        identity = Identity.load(home / "identity.key")
        if identity.public_key != charter.coordinator_key:
            raise RunError(
                f"{home / 'identity.key'} is not the coordinator key that the charter names, so no "
                "site would answer"
            )
        charter_hash = document.hash_of(charter)
        trials = _trials(charter, settings)
        state = _continued(path, charter_hash) if settings.resume else _fresh(path)
        durable.write(path / "charter.json", document.encode(charter))
        signatures = load_signatures(signatures_path(home / "charter.json"))
        job = cls(path, charter, charter_hash, identity, state, signatures, trials)
        job.commit()
        return job

    def commit(self, **changes: object) -> None:
        """Change the state and make it durable.

        Raises:
            RunError: it cannot be written, as when the disk is full; what was committed stands.
        """
        self.state = dataclasses.replace(self.state, **changes)  # type: ignore[arg-type]
        _write(self.path / STATE, canonical.encode(terms.document(self.state)))

    def begin_epoch(self) -> None:
        """Use up the next epoch's number, before its members are told of each other."""
        self.commit(epochs=self.state.epochs + 1)

    def is_committed(self, name: str, number: int) -> bool:
        """Say whether the sum of `name` in round `number` is in the state."""
        return self.committed(name, number) is not None

    def committed(self, name: str, number: int) -> OpenedSum | None:
        """Return what the state says of the sum of `name` in round `number`; None if nothing."""
        for entry in self.state.sums:
            if entry.kind == name and entry.round == number:
                return entry
        return None

    def adapter(self, initial: NDArray[np.float32], *, after: int) -> NDArray[np.float32]:
        """Return the adapter after round `after`, which is committed, shape (p,)."""
        if after == 0:
            return initial
        data = durable.read(self._adapter_path(after), limit=durable.ADAPTER_LIMIT)
        return np.frombuffer(data, dtype="<f4").astype(np.float32)

    def moments(self, *, after: int) -> NDArray[np.float64] | None:
        """Return the server's memory after round `after`, which is committed, shape (rows, p).

        None before the first round, and where the charter's server has no memory.

        Raises:
            RunError: it is gone or is not of this charter; another step could not be distinguished.
        """
        server = self.charter.training.server
        if after == 0 or server is None:
            return None
        path = self._moments_path(after)
        rows = find_server_optimizer(server.optimizer).rows
        try:
            data = durable.read(path, limit=2 * rows * durable.ADAPTER_LIMIT)
            return np.frombuffer(data, dtype="<f8").astype(np.float64).reshape(rows, -1)
        except (ReleaseError, ValueError) as error:
            raise RunError(
                f"{path} cannot be used ({error}): the server's memory after round {after}. "
                "Without it the next step would be another one, which no site takes. Restore the "
                "file, or start a new run"
            ) from error

    def commit_round(
        self,
        number: int,
        adapter: NDArray[np.float32],
        sums: tuple[OpenedSum, ...],
        *,
        moments: NDArray[np.float64] | None = None,
    ) -> None:
        """Make round `number` durable: what was made in it first, then the state that points to it.

        Args:
            number: the round.
            adapter: after it, shape (p,).
            sums: every sum that was opened so far.
            moments: the server's memory after it, shape (rows, p), if it has one.
        """
        _write(self._adapter_path(number), adapter.astype("<f4").tobytes())
        if moments is not None:
            _write(self._moments_path(number), moments.astype("<f8").tobytes())
        self.commit(committed_round=number, sums=sums)
        if moments is not None:
            # A round that is committed is never taken back, so nobody asks for older memory.
            self._moments_path(number - 1).unlink(missing_ok=True)

    def _moments_path(self, number: int) -> Path:
        return self.path / "rounds" / f"moments-{number:04d}.f64"

    def _adapter_path(self, number: int) -> Path:
        return self.path / "rounds" / f"adapter-{number:04d}.f32"


def _of_phase(agreed: Charter, settings: RunSettings) -> Charter:
    """Return the charter of this run: what was agreed, or one of the runs of its search."""
    if settings.phase:
        if not settings.job_id.endswith(f"-{settings.phase}"):
            raise RunError(
                f"the run of {settings.phase} is named {settings.job_id!r}; its name must end with "
                f"-{settings.phase}, so that every ledger says what it was. Nothing was started"
            )
        return search.phase(agreed, settings.phase)
    if search.is_search(agreed):
        raise RunError(
            "the charter asks for a search; its runs are the trials, then the final run with the "
            "winner's settings. Say which with --phase trial-1. Nothing was started"
        )
    return agreed


def _trials(charter: Charter, settings: RunSettings) -> tuple[str, ...] | None:
    """Return the evidence of a final run's trials, after the winner is checked.

    Raises:
        RunError: a trial is not there, or another one won.
    """
    tuning = charter.tuning
    if tuning is None or not tuning.is_final:
        return None
    search_name = settings.job_id.removesuffix(f"-{settings.phase}")
    found = tuple(
        durable.read(settings.job_path.parent / name / EVIDENCE).decode("utf-8")
        for name in searched.trial_names(charter, search_name)
    )
    best = searched.winner(charter, found)
    if best != tuning.number:
        raise RunError(
            f"candidate {best} did best by {tuning.select}, not {tuning.number}; the agreed rule "
            f"decides. Start final-{best}. Nothing was started"
        )
    return found


def _write(path: Path, data: bytes) -> None:
    try:
        durable.write(path, data)
    except ReleaseError as error:
        raise RunError(
            f"{error}. What was committed is kept; make room, then resume the job"
        ) from error


def _fresh(path: Path) -> JobState:
    if (path / STATE).exists():
        raise RunError(
            f"{path} already holds a job; nothing was overwritten. Resume it, or choose another "
            "directory"
        )
    (path / "rounds").mkdir(parents=True, exist_ok=True)
    return JobState(started=datetime.now(UTC).isoformat(timespec="seconds"))


def _continued(path: Path, charter_hash: str) -> JobState:
    if not (path / STATE).exists():
        raise RunError(f"{path} holds no job to resume")
    before = document.hash_of(document.load(path / "charter.json"))
    if before != charter_hash:
        raise RunError(
            f"{path} was run under charter {before[:16]}..., the coordinator now holds "
            f"{charter_hash[:16]}...; start a new run instead"
        )
    problems: list[str] = []
    table = canonical.parse(durable.read(path / STATE))
    state = terms.read(JobState, table, path="state", problems=problems)
    if problems or state is None:
        raise RunError(f"{path / STATE} is damaged: {'; '.join(problems)}")
    return state


@contextmanager
def job_lock(job_path: Path, *, wait_s: float = 20.0) -> Iterator[None]:
    """Hold the job in `job_path`; another process that holds it is given `wait_s` to end.

    A ServerApp can outlive, for a moment, whatever started it. One that was started to resume the
    job must not work on the same files at the same time.

    Guarantee: while this is held, no other process runs this job; the system drops the lock when
    its holder dies.

    Raises:
        RunError: another process still runs it; nothing was changed.
    """
    try:
        job_path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(job_path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise RunError(f"{job_path} cannot be used ({error.strerror}); nothing ran") from error
    with os.fdopen(descriptor, "r+") as file:
        deadline = time.monotonic() + wait_s
        while not _is_taken(file.fileno()):
            if time.monotonic() > deadline:
                raise RunError(
                    f"{job_path} is being run by another process, which did not end within "
                    f"{wait_s:g} s; nothing was changed. End that one, then resume the job"
                )
            time.sleep(_LOOK_S)
        yield


def _is_taken(descriptor: int) -> bool:
    try:
        return locks.take(descriptor)
    except locks.NoLocksError as error:
        raise RunError(
            f"the job's directory cannot be locked ({error.strerror}); nothing ran. It must be on "
            "a file system with working locks"
        ) from error
