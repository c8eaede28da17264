"""What the coordinator does with counts of training records: it keeps them for the next update."""

from __future__ import annotations

from fedethics.aggregates.committing import Done
from fedethics.release.evidence import Steering


def commit(done: Done) -> None:
    """Keep the counts with the variance of their noise."""
    variance = done.plan.steering.noise.sum_variance
    counted = Steering(round=done.number, counts=done.counts, variance=variance)
    done.job.commit(sums=done.sums, steering=(*done.job.state.steering, counted))
    done.events.write("training-steered", round=done.number)
