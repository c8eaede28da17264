"""Whom to ask for a sum, so that no honest site must refuse.

Sites refuse a cohort that differs from one opened before in the same run and task by fewer than the
minimum cohort: the difference of two sums would single those sites out (`docs/secagg.md`). And
counts are summed over the whole roster or not at all.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from fedethics import tasks
from fedethics.charter.model import Charter
from fedethics.errors import RunError, SecaggAbort
from fedethics.release.evidence import OpenedSum
from fedethics.secagg.rules import check_cohort_change


def cohort_of(
    task: tasks.Kind,
    number: int,
    *,
    charter: Charter,
    enrolled: Collection[str],
    opened: Sequence[OpenedSum],
) -> tuple[str, ...]:
    """Return the sites to ask for the sum of `task` in round `number`, sorted.

    Args:
        task: which kind of sum.
        number: the round.
        charter: the roster and the minimum cohort.
        enrolled: the sites of this epoch.
        opened: the sums of this run so far.

    Raises:
        RunError: no cohort of the enrolled sites is one that sites may answer; says who is missing.
    """
    here, asked = set(enrolled), f"the {task} sum of round {number} cannot be opened"
    if task != tasks.UPDATE:
        _require(set(charter.site_names), here, f"{asked}: it is over the whole roster")
        return tuple(sorted(here))
    before = [frozenset(entry.cohort) for entry in opened if entry.kind == task]
    try:
        check_cohort_change(here, opened=before, minimum_cohort=charter.secagg.minimum_cohort)
    except SecaggAbort:
        # A site that came later trains in the next run; it counts in the count sums of this one.
        _require(before[-1], here, f"{asked}: sites answer the cohort that they answered before")
        return tuple(sorted(before[-1]))
    return tuple(sorted(here))


def _require(wanted: Collection[str], here: Collection[str], why: str) -> None:
    missing = sorted(set(wanted) - set(here))
    if missing:
        raise RunError(
            f"{why}, and {', '.join(missing)} did not enrol. Nothing was asked; resume the job "
            "when they are back"
        )
