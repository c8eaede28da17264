"""The federation's rounds: train, sum, step, commit, measure; then the final fairness tables.

Readable from top to bottom as the protocol. What a crash interrupted is finished first,
in the session that it belongs to; then nothing is computed twice that was committed before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from fedethics import tasks
from fedethics.canonical import sha256_hex
from fedethics.coordinator.events import EventLog, announce_metrics, write_metrics
from fedethics.coordinator.federation import Federation
from fedethics.coordinator.job import Job
from fedethics.coordinator.readiness import Readiness
from fedethics.coordinator.sums import Sums, UnfinishedOpeningError
from fedethics.errors import RunError
from fedethics.privacy.plan import PrivacyPlan
from fedethics.release.evidence import SUM, Dropout, OpenedSum, Progress, Steering
from fedethics.secagg import CoordinatorRound
from fedethics.training.learner import Learner
from fedethics.training.server_step import server_step


@dataclass
class Rounds:
    """Runs the rounds of one job that are not committed yet."""

    job: Job
    federation: Federation
    readiness: Readiness
    sums: Sums
    learner: Learner
    plan: PrivacyPlan
    events: EventLog

    def finish_interrupted(self) -> None:
        """Finish and commit the sum that the coordinator died in, before any site is enrolled.

        Raises:
            RunError: too few of its sites are here; everything stays as it is.
        """
        session = self.sums.interrupted()
        if session is not None:
            self._commit(session)

    def run(self) -> NDArray[np.float32]:
        """Run what is left of the job and return the final adapter, shape (p,).

        Raises:
            RunError: a sum could not be opened; what was committed stays and can be resumed.
        """
        job, rounds = self.job, self.job.charter.training.rounds
        self.events.write("run", rounds=rounds, sites=list(self.federation.sites))
        write_metrics(self.job)
        self.sums.settle_all()
        for number in range(1, rounds + 1):
            if number > job.state.committed_round:
                self.train(number)
            if number in self.plan.progress_rounds and not job.is_committed(tasks.PROGRESS, number):
                self._progress(number)
        if self.plan.audit is not None and not job.is_committed(tasks.AUDIT, rounds):
            self.measure(tasks.AUDIT, rounds)
        if not job.state.fairness:
            self.measure(tasks.FAIRNESS, rounds)
        return self._adapter(after=rounds)

    def train(self, number: int) -> None:
        """Run one round: steer where the plan says so, train, sum, step and commit.

        Raises:
            RunError: a sum could not be opened; what was committed stays.
        """
        self.readiness.require()
        self.events.write("round-started", round=number)
        adapter = self._adapter(after=number - 1)
        if number in self.plan.steering_rounds and not self.job.is_committed(
            tasks.STEERING, number
        ):
            counted = self.sums.open(tasks.STEERING, number, adapter)
            self._commit(counted)
            self.sums.settle(counted)
            self.readiness.require()
        session = self.sums.open(tasks.UPDATE, number, adapter, steering=self._steering())
        self._commit(session)
        self.sums.settle(session)

    def _progress(self, number: int) -> None:
        self.readiness.require()
        try:
            session = self.sums.open(tasks.PROGRESS, number, self._adapter(after=number))
        except UnfinishedOpeningError:
            raise
        except RunError as error:
            # A count sum needs every site; without one the run goes on and shows the gap, which a
            # resumed run fills.
            self.events.write("progress-skipped", round=number, why=str(error))
            return
        self._commit(session)
        self.sums.settle(session)

    def measure(self, task: tasks.Kind, number: int) -> None:
        """Open one sum over what sites measure of the adapter after round `number`, and commit it.

        Raises:
            RunError: it could not be opened; what was committed stays.
        """
        self.readiness.require()
        self.events.write(f"{task}-started", round=number)
        session = self.sums.open(task, number, self._adapter(after=number))
        self._commit(session)
        self.sums.settle(session)

    def _steering(self) -> bytes:
        """Return the opened counts of training records so far; each site has been told them."""
        sums = self.job.state.steering
        return b"".join(np.array(one.counts, dtype="<i8").tobytes() for one in sums)

    def _adapter(self, *, after: int) -> NDArray[np.float32]:
        return self.job.adapter(self.learner.initial_vector(), after=after)

    def _commit(self, session: CoordinatorRound) -> None:
        """Make an opened sum, and what follows from it, part of the job's state."""
        opened, number = session.result(), session.round_number
        counts = tuple(int(value) for value in opened.total)
        sums = (*self.job.state.sums, _record(session))
        if session.task == tasks.UPDATE:
            stepped = server_step(
                self.learner,
                self._adapter(after=number - 1),
                charter=self.job.charter,
                total=opened.total,
                survivors=opened.survivors,
            )
            self.job.commit_round(number, stepped, sums)
            self.events.write(
                "round-committed",
                round=number,
                survivors=list(opened.survivors),
                dropped=dict(opened.dropped),
            )
        elif session.task == tasks.PROGRESS:
            variance = self.plan.sum_variance(self.plan.progress_std)
            record = Progress(round=number, counts=counts, variance=variance)
            self.job.commit(sums=sums, progress=(*self.job.state.progress, record))
            write_metrics(self.job)
            announce_metrics(self.job, self.events, record)
        elif session.task == tasks.STEERING:
            variance = self.plan.steering_sum_variance
            counted = Steering(round=number, counts=counts, variance=variance)
            self.job.commit(sums=sums, steering=(*self.job.state.steering, counted))
            self.events.write("training-steered", round=number)
        elif session.task == tasks.AUDIT:
            self.job.commit(sums=sums, audit=counts)
            self.events.write("audit-committed", round=number)
        else:
            self.job.commit(sums=sums, fairness=counts)
            self.events.write("fairness-committed", round=number)


def _record(session: CoordinatorRound) -> OpenedSum:
    opened = session.result()
    return OpenedSum(
        round=session.round_number,
        kind=cast(SUM, session.task),
        session=session.session_id,
        cohort=session.cohort,
        survivors=opened.survivors,
        dropped=tuple(Dropout(site=site, stage=stage) for site, stage in opened.dropped.items()),
        sum_sha256=sha256_hex(opened.total.astype("<i8").tobytes()),
    )
