"""The federation's rounds: train, sum, step, commit, measure; then the final fairness tables.

Readable from top to bottom as the protocol of DESIGN: nothing is computed twice after a restart
that was committed before it, and nothing that was not committed is reused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedethics import tasks
from fedethics.canonical import Json, sha256_hex
from fedethics.errors import RunError, SecaggAbort
from fedethics.fairness.progress import progress as progress_metrics
from fedethics.privacy.plan import PrivacyPlan
from fedethics.protocol import Action
from fedethics.release.evidence import SUM, Dropout, OpenedSum, Progress
from fedethics.secagg import Opened, Quantiser
from fedethics.training.learner import Learner
from server.events import EventLog
from server.federation import Federation
from server.job import Job
from server.secure_sum import secure_sum, tell

_ATTEMPTS = 2


@dataclass
class Rounds:
    """Runs the rounds of one job that are not committed yet."""

    job: Job
    federation: Federation
    learner: Learner
    plan: PrivacyPlan
    events: EventLog

    def run(self) -> NDArray[np.float32]:
        """Run what is left of the job and return the final adapter, shape (p,).

        Raises:
            RunError: a sum could not be opened; what was committed stays and can be resumed.
        """
        job, rounds = self.job, self.job.charter.training.rounds
        self.events.write("run", rounds=rounds, sites=list(self.federation.sites))
        adapter = job.adapter(self.learner.initial_vector())
        for number in range(job.state.committed_round + 1, rounds + 1):
            adapter = self._train(number, adapter)
            if number in self.plan.progress_rounds:
                self._progress(number, adapter)
        if not job.state.fairness:
            self._fairness(rounds, adapter)
        return adapter

    def _train(self, number: int, adapter: NDArray[np.float32]) -> NDArray[np.float32]:
        self.events.write("round-started", round=number)
        opened = self._sum(tasks.UPDATE, Action.TRAIN, number, adapter)
        stepped = self._step(adapter, opened)
        self.job.commit_round(number, stepped, _record(opened, number, tasks.UPDATE, self._cohort))
        tell(self.federation, opened)
        self.events.write(
            "round-committed",
            round=number,
            survivors=list(opened.survivors),
            dropped=dict(opened.dropped),
        )
        return stepped

    def _step(self, adapter: NDArray[np.float32], opened: Opened) -> NDArray[np.float32]:
        """Add the weighted mean of the survivors' updates."""
        charter = self.job.charter
        grid = Quantiser(clip=charter.secagg.clip, scale=charter.secagg.scale)
        weight = sum(tasks.site_weight(charter, site) for site in opened.survivors)
        mean = grid.dequantise(opened.total) / weight
        rate = charter.training.server_learning_rate
        return (adapter + rate * mean).astype(np.float32)

    def _progress(self, number: int, adapter: NDArray[np.float32]) -> None:
        try:
            opened = self._sum(tasks.PROGRESS, Action.EVALUATE, number, adapter)
        except RunError as error:
            # A count sum needs every site; without one the run goes on and shows the gap.
            self.events.write("progress-skipped", round=number, why=str(error))
            return
        variance = self.plan.sum_variance(self.plan.progress_std)
        record = Progress(
            round=number, counts=tuple(int(x) for x in opened.total), variance=variance
        )
        self.job.commit(
            sums=(*self.job.state.sums, _record(opened, number, tasks.PROGRESS, self._cohort)),
            progress=(*self.job.state.progress, record),
        )
        tell(self.federation, opened)
        self._write_metrics(record)

    def _write_metrics(self, record: Progress) -> None:
        metrics = progress_metrics(
            np.array(record.counts, dtype=np.int64), variance=record.variance
        )
        row: dict[str, Json] = {"round": record.round}
        for name, estimate in (
            ("accuracy", metrics.accuracy),
            ("true-positive-rate", metrics.tpr),
            ("false-positive-rate", metrics.fpr),
            ("records", metrics.n),
        ):
            row[name] = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
        with (self.job.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.events.write("metrics", **row)

    def _fairness(self, number: int, adapter: NDArray[np.float32]) -> None:
        self.events.write("fairness-started", round=number)
        opened = self._sum(tasks.FAIRNESS, Action.EVALUATE, number, adapter)
        self.job.commit(
            sums=(*self.job.state.sums, _record(opened, number, tasks.FAIRNESS, self._cohort)),
            fairness=tuple(int(x) for x in opened.total),
        )
        tell(self.federation, opened)
        self.events.write("fairness-committed", round=number)

    def _sum(
        self, kind: tasks.Kind, action: Action, number: int, adapter: NDArray[np.float32]
    ) -> Opened:
        specs = tasks.task_specs(self.job.charter, vector_length=adapter.size)
        reason = ""
        for _ in range(_ATTEMPTS):
            try:
                return secure_sum(
                    self.federation,
                    spec=specs[kind],
                    action=action,
                    round_number=number,
                    model_hash=self.learner.model_hash(adapter),
                    adapter=adapter.astype("<f4").tobytes(),
                    strict=self.job.charter.secagg.mode == "strict",
                )
            except SecaggAbort as error:
                reason = str(error)
                self.events.write("sum-abandoned", kind=kind, round=number, why=reason)
        raise RunError(
            f"the {kind} sum of round {number} could not be opened after {_ATTEMPTS} attempts: "
            f"{reason} What was reserved stays charged at the sites; committed rounds are kept. "
            "Resume the job when the sites are back. If an earlier attempt died while this sum was "
            "being opened, sites will not open it again: start a new run then"
        )

    @property
    def _cohort(self) -> tuple[str, ...]:
        return self.federation.sites


def _record(opened: Opened, number: int, kind: SUM, cohort: tuple[str, ...]) -> OpenedSum:
    return OpenedSum(
        round=number,
        kind=kind,
        cohort=cohort,
        survivors=opened.survivors,
        dropped=tuple(Dropout(site=site, stage=stage) for site, stage in opened.dropped.items()),
        sum_sha256=sha256_hex(opened.total.astype("<i8").tobytes()),
    )
