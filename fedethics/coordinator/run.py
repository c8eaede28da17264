"""One job from start to end: finish what was interrupted, enrol, run the rounds, close."""

from __future__ import annotations

from dataclasses import dataclass

from fedethics.coordinator import withdrawals
from fedethics.coordinator.closing import close
from fedethics.coordinator.enrolment import Enrolment
from fedethics.coordinator.events import EventLog
from fedethics.coordinator.exchange import Exchange
from fedethics.coordinator.federation import Federation
from fedethics.coordinator.job import Job, RunSettings, job_lock
from fedethics.coordinator.protocol_files import ProtocolFiles
from fedethics.coordinator.readiness import Readiness
from fedethics.coordinator.rounds import Rounds
from fedethics.coordinator.sums import Sums
from fedethics.coordinator.transport import Transport
from fedethics.coordinator.window import WatchedRelease, close_window, watched_release
from fedethics.errors import RunError
from fedethics.privacy.plan import make_plan
from fedethics.training.learner import Learner


def run_job(transport: Transport, settings: RunSettings) -> None:
    """Run one job, or what is left of it; no other process runs it at the same time.

    Args:
        transport: reaches the nodes of the sites.
        settings: what the coordinator's operator chose.

    Raises:
        FedethicsError: the job cannot start or finish; what was committed stays.
    """
    with job_lock(settings.job_path):
        Coordinator.open(transport, settings).run()


@dataclass(frozen=True, slots=True)
class Coordinator:
    """The parts of one job's coordinator, put together."""

    job: Job
    enrolment: Enrolment
    rounds: Rounds
    watched: WatchedRelease | None = None

    @classmethod
    def open(
        cls, transport: Transport, settings: RunSettings, *, learner: Learner | None = None
    ) -> Coordinator:
        """Start a job, or take up the one in the directory; nobody is asked anything yet.

        Args:
            transport: reaches the nodes of the sites.
            settings: what the coordinator's operator chose.
            learner: the charter's model, where this process has it already.

        Raises:
            FedethicsError: the job cannot be started or continued.
        """
        job = Job.open(settings)
        if settings.until_census and job.charter.census is None:
            raise RunError(
                "the charter asks for no census, so the run cannot pause after it; nothing was "
                "asked of any site"
            )
        files, events = ProtocolFiles(job.path), EventLog(job.path)
        work_timeout_s, relay_timeout_s = settings.leg_timeout_s, settings.relay_timeout_s
        federation = Federation(
            Exchange(transport, work_timeout_s, relay_timeout_s or work_timeout_s),
            job.charter_hash,
            settings.job_id,
            events,
            names=settings.names_of_nodes,
            roster=frozenset(job.charter.site_names),
        )
        withdrawals.send(federation, withdrawals.known(settings))
        watched = watched_release(job, settings)
        enrolment = Enrolment(job, federation, files, events)
        events.write("enrolling", expected=len(job.charter.roster))
        model = learner or Learner(
            job.charter, model_dir=settings.model_path, start_dir=settings.start_path
        )
        plan = make_plan(job.charter)
        sums = Sums(job, federation, enrolment, model, files, events)
        readiness = Readiness(job, federation, enrolment, plan)
        rounds = Rounds(
            job, federation, readiness, sums, model, plan, events, settings.until_census
        )
        return cls(job, enrolment, rounds, watched)

    def run(self) -> None:
        """Run what is left of the job and write all that it leaves behind, unless it pauses.

        Raises:
            FedethicsError: it cannot finish; what was committed stays.
        """
        rounds = self.rounds
        rounds.finish_interrupted()
        self.enrolment.begin()
        adapter = rounds.run()
        rounds.sums.settle_all()
        if self.watched is not None:
            close_window(self.job, rounds.federation, rounds.plan, self.watched, rounds.events)
            return
        if adapter is None:
            return
        close(self.job, rounds.federation, rounds.learner, rounds.plan, adapter, rounds.events)
