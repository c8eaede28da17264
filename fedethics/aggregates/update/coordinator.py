"""What the coordinator does with a sum of updates: one step of the adapter."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fedethics.aggregates.committing import Done
from fedethics.coordinator.job import Job
from fedethics.training.server_step import server_step


def sent(job: Job) -> Mapping[str, bytes]:
    """Return the opened counts of training records so far; each site has been told them."""
    sums = job.state.steering
    return {"steering": b"".join(np.array(one.counts, dtype="<i8").tobytes() for one in sums)}


def commit(done: Done) -> None:
    """Take the server's step, and make the adapter after it durable."""
    job, opened = done.job, done.opened
    stepped = server_step(
        done.learner,
        job.adapter(done.learner.initial_vector(), after=done.number - 1),
        charter=job.charter,
        total=opened.total,
        survivors=opened.survivors,
    )
    job.commit_round(done.number, stepped, done.sums)
    done.events.write(
        "round-committed",
        round=done.number,
        survivors=list(opened.survivors),
        dropped=dict(opened.dropped),
    )
