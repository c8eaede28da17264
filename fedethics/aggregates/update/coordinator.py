"""What the coordinator does with a sum of updates: one step of the adapter."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fedethics.aggregates.committing import Done
from fedethics.coordinator.job import Job
from fedethics.training.server_step import moments_after, server_step


def sent(job: Job) -> Mapping[str, bytes]:
    """Return the opened counts of training records so far; each site has been told them."""
    sums = job.state.steering
    return {"steering": b"".join(np.array(one.counts, dtype="<i8").tobytes() for one in sums)}


def commit(done: Done) -> None:
    """Take the server's step, and make the adapter after it durable."""
    job, opened = done.job, done.opened
    before = job.moments(after=done.number - 1)
    stepped = server_step(
        done.learner,
        job.adapter(done.learner.initial_vector(), after=done.number - 1),
        charter=job.charter,
        total=opened.total,
        survivors=opened.survivors,
        moments=before,
    )
    remembered = moments_after(
        job.charter, total=opened.total, survivors=opened.survivors, moments=before
    )
    job.commit_round(done.number, stepped, done.sums, moments=remembered)
    done.events.write(
        "round-committed",
        round=done.number,
        survivors=list(opened.survivors),
        dropped=dict(opened.dropped),
    )
