"""One job from start to end: finish what was interrupted, enrol, run the rounds, close."""

from __future__ import annotations

from fedethics.coordinator.alone import alone
from fedethics.coordinator.closing import close
from fedethics.coordinator.enrolment import Enrolment
from fedethics.coordinator.events import EventLog
from fedethics.coordinator.exchange import Exchange
from fedethics.coordinator.federation import Federation
from fedethics.coordinator.job import Job, RunSettings
from fedethics.coordinator.protocol_files import ProtocolFiles
from fedethics.coordinator.readiness import Readiness
from fedethics.coordinator.rounds import Rounds
from fedethics.coordinator.sums import Sums
from fedethics.coordinator.transport import Transport
from fedethics.privacy.plan import make_plan
from fedethics.training.learner import Learner


def run_job(transport: Transport, settings: RunSettings) -> None:
    """Run one job, or what is left of it; no other process runs it meanwhile.

    Args:
        transport: reaches the nodes of the sites.
        settings: what the coordinator's operator chose.

    Raises:
        FedethicsError: the job cannot start or finish; what was committed stays.
    """
    with alone(settings.job_path):
        _run(transport, settings)


def _run(transport: Transport, settings: RunSettings) -> None:
    job = Job.open(settings)
    files, events = ProtocolFiles(job.path), EventLog(job.path)
    work_timeout_s, relay_timeout_s = settings.leg_timeout_s, settings.relay_timeout_s
    exchange = Exchange(transport, work_timeout_s, relay_timeout_s or work_timeout_s)
    federation = Federation(
        exchange,
        job.charter_hash,
        settings.job_id,
        events,
        names=settings.names_of_nodes,
        roster=frozenset(job.charter.site_names),
    )
    enrolment = Enrolment(job, federation, files, events)
    events.write("enrolling", expected=len(job.charter.roster))
    learner = Learner(job.charter, model_dir=settings.model_path)
    plan = make_plan(job.charter)
    sums = Sums(job, federation, enrolment, learner, files, events)
    readiness = Readiness(job, federation, enrolment, plan)
    rounds = Rounds(job, federation, readiness, sums, learner, plan, events)
    rounds.finish_interrupted()
    enrolment.begin()
    adapter = rounds.run()
    sums.settle_all()
    close(job, federation, learner, plan, adapter, events)
