"""What the coordinator does with the audit's histograms: it keeps them for the gate."""

from __future__ import annotations

from fedethics.aggregates.committing import Done


def commit(done: Done) -> None:
    """Keep the histograms."""
    done.job.commit(sums=done.sums, audit=done.counts)
    done.events.write("audit-committed", round=done.number)
