"""What the coordinator does with a light evaluation: it keeps it, and tells its metrics."""

from __future__ import annotations

from fedethics.aggregates.committing import Done
from fedethics.coordinator.events import announce_metrics, write_metrics
from fedethics.release.evidence import Progress


def commit(done: Done) -> None:
    """Keep the counts with the variance of their noise."""
    variance = done.plan.progress.noise.sum_variance
    record = Progress(round=done.number, counts=done.counts, variance=variance)
    done.job.commit(sums=done.sums, progress=(*done.job.state.progress, record))
    write_metrics(done.job)
    announce_metrics(done.job, done.events, record)
