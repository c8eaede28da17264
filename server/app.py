"""The Flower ServerApp: open the job, enrol the sites, run the rounds, close the run."""

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedethics import tasks
from fedethics.privacy.plan import make_plan
from fedethics.secagg import CoordinatorSecagg
from fedethics.training.learner import Learner
from server.closing import close
from server.events import EventLog
from server.exchange import Exchange
from server.federation import Federation
from server.job import Job
from server.rounds import Rounds
from server.settings import RunSettings

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run one job, or what is left of it."""
    settings = RunSettings.from_run_config(context.run_config)
    job = Job.open(settings)
    events = EventLog(job.path)
    coordinator = CoordinatorSecagg(
        identity=job.identity,
        terms=tasks.secagg_terms(job.charter, charter_hash=job.charter_hash),
    )
    federation = Federation(
        Exchange(grid, settings.leg_timeout_s),
        coordinator,
        job.charter_hash,
        settings.job_id,
        events,
    )
    events.write("enrolling", expected=len(job.charter.roster))
    federation.enrol(
        epoch=f"{settings.job_id}/{job.state.attempt}",
        minimum=job.charter.secagg.minimum_cohort,
        expected=len(job.charter.roster),
    )
    learner = Learner(job.charter, model_dir=settings.model_path)
    plan = make_plan(job.charter)
    adapter = Rounds(job, federation, learner, plan, events).run()
    close(job, federation, learner, plan, adapter, events)
