"""What the coordinator does with an opened census: where a bar is missed, it trains no model."""

from __future__ import annotations

from fedethics.aggregates.census.gate import missed_bars
from fedethics.coordinator.job import Job


def objections(job: Job) -> tuple[str, ...]:
    """Return why nothing may be trained: the bars that the charter stops for and that are missed.

    Raises:
        AccountingError: no plan follows from the charter.
    """
    terms = job.charter.census
    if terms is None or not terms.stop:
        return ()
    return missed_bars(job.charter, job.state.counted)
