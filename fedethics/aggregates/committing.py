"""What a coordinator commits a sum with: the job, what was opened, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fedethics.coordinator.events import EventLog
from fedethics.coordinator.job import Job
from fedethics.privacy.plan import PrivacyPlan
from fedethics.release.evidence import Counted, OpenedSum
from fedethics.secagg import Opened
from fedethics.training.learner import Learner


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """A sum that was opened and is not committed yet.

    Attributes:
        number: its round.
        sums: every sum of the job, this one last.
    """

    job: Job
    learner: Learner
    plan: PrivacyPlan
    events: EventLog
    number: int
    opened: Opened
    sums: tuple[OpenedSum, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """The opened integers."""
        return tuple(int(value) for value in self.opened.total)


def keep_counts(kind: str) -> Callable[[Done], None]:
    """Return what commits a kind of which the evidence holds the opened integers, and no more."""

    def commit(done: Done) -> None:
        counted = Counted(kind=kind, round=done.number, counts=done.counts)
        done.job.commit(sums=done.sums, counted=(*(done.job.state.counted or ()), counted))
        done.events.write(f"{kind}-committed", round=done.number)

    return commit
