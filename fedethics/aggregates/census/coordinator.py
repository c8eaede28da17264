"""What the coordinator does with an opened census: a page, and no model where a bar is missed."""

from __future__ import annotations

from fedethics.aggregates.census.gate import missed_bars
from fedethics.aggregates.census.page import taken
from fedethics.aggregates.committing import Done, keep_counts
from fedethics.coordinator.job import Job
from fedethics.release import durable
from fedethics.release.folder import CENSUS


def commit(done: Done) -> None:
    """Keep the counts, and write the page for those who decide whether to train.

    Raises:
        ReleaseError: the page cannot be written, as when the disk is full; the counts are kept.
    """
    keep_counts("census")(done)
    page = taken(done.job.charter, done.job.state.counted).page()
    durable.write(done.job.path / CENSUS, page.encode("utf-8"))


def objections(job: Job) -> tuple[str, ...]:
    """Return why nothing may be trained: the bars that the charter stops for and that are missed.

    Raises:
        AccountingError: no plan follows from the charter.
    """
    terms = job.charter.census
    if terms is None or not terms.stop:
        return ()
    return missed_bars(job.charter, job.state.counted)
