"""The Flower ServerApp: finish what was interrupted, enrol the sites, run the rounds, close."""

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

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
from fedethics.flower.pin import end_with_coordinator
from fedethics.flower.pulls import quicken_pulls
from fedethics.flower.replies import contain_bad_replies
from fedethics.privacy.plan import make_plan
from fedethics.training.learner import Learner

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run one job, or what is left of it."""
    end_with_coordinator()
    quicken_pulls()
    contain_bad_replies()
    settings = RunSettings.from_run_config(context.run_config)
    with alone(settings.job_path):
        _run(grid, settings)


def _run(grid: Grid, settings: RunSettings) -> None:
    job = Job.open(settings)
    files, events = ProtocolFiles(job.path), EventLog(job.path)
    work_timeout_s, relay_timeout_s = settings.leg_timeout_s, settings.relay_timeout_s
    exchange = Exchange(grid, work_timeout_s, relay_timeout_s or work_timeout_s)
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
