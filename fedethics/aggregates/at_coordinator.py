"""What the coordinator commits of each kind of sum, by its name, and what it sends along."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from fedethics.aggregates.audit import coordinator as audit
from fedethics.aggregates.census import coordinator as census
from fedethics.aggregates.committing import Done, keep_counts
from fedethics.aggregates.fairness import coordinator as fairness
from fedethics.aggregates.norms import coordinator as norms
from fedethics.aggregates.progress import coordinator as progress
from fedethics.aggregates.steering import coordinator as steering
from fedethics.aggregates.update import coordinator as update
from fedethics.coordinator.job import Job

COMMITTED: Final[Mapping[str, Callable[[Done], None]]] = {
    "update": update.commit,
    "progress": progress.commit,
    "steering": steering.commit,
    "audit": audit.commit,
    "fairness": fairness.commit,
    "agreement": keep_counts("agreement"),
    "measures": keep_counts("measures"),
    "paired": keep_counts("paired"),
    "census": census.commit,
    "monitoring": keep_counts("monitoring"),
    "norms": norms.commit,
}
# Why nothing may be trained after such a sum was opened; a kind that is not here never objects.
OBJECTS: Final[Mapping[str, Callable[[Job], tuple[str, ...]]]] = {"census": census.objections}
# Only what sites know already; a kind that is not here sends nothing but the opening.
SENT_ALONG: Final[Mapping[str, Callable[[Job], Mapping[str, bytes]]]] = {"update": update.sent}
