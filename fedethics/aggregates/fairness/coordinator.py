"""What the coordinator does with the group tables: it keeps them for the gate."""

from __future__ import annotations

from fedethics.aggregates.committing import Done


def commit(done: Done) -> None:
    """Keep the tables."""
    done.job.commit(sums=done.sums, fairness=done.counts)
    done.events.write("fairness-committed", round=done.number)
