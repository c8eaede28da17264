"""The federation's rounds: train, sum, step, commit, measure; then the final fairness tables.

Readable from top to bottom as the protocol. What a crash interrupted is finished first,
in the session that it belongs to; then nothing is computed twice that was committed before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedethics.aggregates.aggregate import Aggregate, Moment
from fedethics.aggregates.at_coordinator import COMMITTED, OBJECTS, SENT_ALONG
from fedethics.aggregates.committing import Done
from fedethics.aggregates.registry import aggregate
from fedethics.aggregates.schedule import sums_of
from fedethics.canonical import sha256_hex
from fedethics.charter_sums import UPDATE
from fedethics.coordinator.events import EventLog, write_metrics
from fedethics.coordinator.federation import Federation
from fedethics.coordinator.job import Job
from fedethics.coordinator.readiness import Readiness
from fedethics.coordinator.sums import Sums, UnfinishedOpeningError
from fedethics.errors import RunError
from fedethics.privacy.plan import PrivacyPlan
from fedethics.privacy.signal import step_signal
from fedethics.release.evidence import Dropout, OpenedSum
from fedethics.secagg import CoordinatorRound
from fedethics.training.factors import frozen_factor, trained_coordinates
from fedethics.training.learner import Learner


@dataclass
class Rounds:
    """Runs the rounds of one job that are not committed yet.

    Attributes:
        until_census: end before anything is trained.
    """

    job: Job
    federation: Federation
    readiness: Readiness
    sums: Sums
    learner: Learner
    plan: PrivacyPlan
    events: EventLog
    until_census: bool = False
    _begun: int = 0

    def finish_interrupted(self) -> None:
        """Finish and commit the sum that the coordinator died in, before any site is enrolled.

        Raises:
            RunError: too few of its sites are here; everything stays as it is.
        """
        session = self.sums.interrupted()
        if session is not None:
            self._commit(session)

    def run(self) -> NDArray[np.float32] | None:
        """Run what is left of the job and return the final adapter, shape (p,); None on a pause.

        Raises:
            RunError: a sum could not be opened; what was committed stays and can be resumed.
        """
        job, rounds = self.job, self.job.charter.training.rounds
        self.events.write("run", rounds=rounds, sites=list(self.federation.sites))
        self._say_signal()
        write_metrics(self.job)
        self.sums.settle_all()
        for name, number in sums_of(job.charter, self.plan):
            if not job.is_committed(name, number):
                if aggregate(name).trains:
                    if self.until_census:
                        self.events.write("paused", after="census")
                        return None
                    self._require_no_objection()
                self.open(name, number)
        return self._adapter(after=rounds if UPDATE in self.plan.sums else 0)

    def _require_no_objection(self) -> None:
        """Refuse to train where an opened sum shows what the charter stops for.

        Raises:
            RunError: it does; the sums that were opened stay, and nothing further is spent.
        """
        for name, objections in OBJECTS.items():
            if said := objections(self.job):
                self.events.write(f"{name}-objects", why=" ".join(said))
                raise RunError(
                    f"{' '.join(said)} The charter stops the run for this ({name}.stop), so no "
                    "model is trained further, and no further budget is spent"
                )

    def _say_signal(self) -> None:
        """Write how far a step can be heard over its noise, before anything is spent."""
        charter = self.job.charter
        if UPDATE not in self.plan.sums:
            return
        trained = max(
            int(trained_coordinates(self.learner, frozen_factor(charter.adapter.form, one)).sum())
            for one in (1, 2)
        )
        records = {member.site: member.declared_records for member in charter.roster}
        found = step_signal(charter, self.plan, parameters=trained, records=records)
        if found is not None:
            self.events.write(
                "step-signal",
                **{"trained-parameters": found.parameters, "batch": found.batch},
                **{"noise-in-sum": found.noise, "bound": found.bound},
                advice=" ".join(found.sentences()) or "none",
            )

    def open(self, name: str, number: int) -> None:
        """Open one sum, commit it and settle it.

        Raises:
            RunError: it could not be opened; what was committed stays.
        """
        kind = aggregate(name)
        self.readiness.require()
        self._announce(kind, number)
        sent = SENT_ALONG[kind.name](self.job) if kind.name in SENT_ALONG else {}
        adapter = self._adapter(after=kind.adapter_round(number))
        try:
            session = self.sums.open(kind.name, number, adapter, sent=sent)
        except UnfinishedOpeningError:
            raise
        except RunError as error:
            if not kind.skippable:
                raise
            # A count sum needs every site; without one the run goes on and shows the gap, which a
            # resumed run fills.
            self.events.write(f"{kind.name}-skipped", round=number, why=str(error))
            return
        self._commit(session)
        self.sums.settle(session)

    def _announce(self, kind: Aggregate[Any], number: int) -> None:
        """Write that a round begins, with whichever of its sums is first, or a later sum of it."""
        if kind.moment is Moment.AFTER_STEP:
            if not kind.skippable:
                self.events.write(f"{kind.name}-started", round=number)
        elif self._begun != number:
            self._begun = number
            self.events.write("round-started", round=number)

    def _adapter(self, *, after: int) -> NDArray[np.float32]:
        return self.job.adapter(self.learner.initial_vector(), after=after)

    def _commit(self, session: CoordinatorRound) -> None:
        """Make an opened sum, and what follows from it, part of the job's state."""
        done = Done(
            job=self.job,
            learner=self.learner,
            plan=self.plan,
            events=self.events,
            number=session.round_number,
            opened=session.result(),
            sums=(*self.job.state.sums, _record(session)),
        )
        COMMITTED[session.aggregate](done)


def _record(session: CoordinatorRound) -> OpenedSum:
    opened = session.result()
    return OpenedSum(
        round=session.round_number,
        kind=session.aggregate,
        session=session.session_id,
        cohort=session.cohort,
        survivors=opened.survivors,
        dropped=tuple(Dropout(site=site, stage=stage) for site, stage in opened.dropped.items()),
        sum_sha256=sha256_hex(opened.total.astype("<i8").tobytes()),
    )
