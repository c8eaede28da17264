"""What the coordinator does with the histogram of gradient norms: it keeps it and tells of it."""

from __future__ import annotations

from fedethics.aggregates.committing import Done
from fedethics.aggregates.norms.opened import opened_norms
from fedethics.release.evidence import Counted


def commit(done: Done) -> None:
    """Keep the counts; the event has what they say, for `federation status`."""
    counted = Counted(kind="norms", round=done.number, counts=done.counts)
    done.job.commit(sums=done.sums, counted=(*(done.job.state.counted or ()), counted))
    found = opened_norms(done.job.charter, (counted,))
    said = found.advice() if found else ""
    done.events.write("norms-committed", round=done.number, said=said)
