"""Which sites to ask for each sum, so that no honest site must refuse.

Sites refuse a cohort that differs from one opened before in the same run, for the same aggregate,
by fewer than the minimum cohort: the difference of two sums would single those sites out
(`docs/secagg.md`). Where the charter draws cohorts, they train in no round that they are not drawn
for. And counts are summed over the whole roster, or the charter's quorum, or not at all.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from fedethics.aggregates.registry import aggregate
from fedethics.charter.cohorts import drawn
from fedethics.charter.model import Charter
from fedethics.errors import RunError, SecaggAbort
from fedethics.release.evidence import OpenedSum
from fedethics.secagg.rules import check_cohort_change


class MissingSitesError(RunError):
    """A sum cannot be opened over the sites that are there.

    Attributes:
        why: which sum, and what it needs.
        missing: the sites that it lacks; empty where any others would do.
    """

    def __init__(self, why: str, missing: Collection[str]) -> None:
        self.why, self.missing = why, tuple(sorted(missing))
        lacks = f", and {', '.join(self.missing)} did not enrol" if missing else ""
        super().__init__(f"{why}{lacks}. No site was asked")


def cohort_of(
    name: str,
    number: int,
    *,
    charter: Charter,
    enrolled: Collection[str],
    opened: Sequence[OpenedSum],
) -> tuple[str, ...]:
    """Return the sites to ask for the sum of `name` in round `number`, sorted.

    Args:
        name: which kind of sum.
        number: the round.
        charter: the roster and the minimum cohort.
        enrolled: the sites of this epoch.
        opened: the sums of this run so far.

    Raises:
        MissingSitesError: no cohort of the enrolled sites is one that sites may answer.
    """
    here, asked = set(enrolled), f"the {name} sum of round {number} cannot be opened"
    kind = aggregate(name)
    if kind.whole_roster:
        fewest = kind.fewest(charter)
        if fewest == len(charter.roster):
            _require(set(charter.site_names), here, f"{asked}: it is over the whole roster")
        elif len(here) < fewest:
            why = f"{asked}: its quorum is {fewest}, and {len(here)} sites are there"
            raise MissingSitesError(why, set(charter.site_names) - here)
        return tuple(sorted(here))
    minimum, due = charter.secagg.minimum_cohort, set(drawn(charter, number))
    here &= due
    if len(here) < minimum:
        why = f"{asked}: the minimum cohort is {minimum}, and {len(here)} sites are there"
        if len(due) < len(charter.roster):
            why = f"{why} of the {len(due)} that are drawn for the round"
        raise MissingSitesError(why, due - here)
    # Other cohorts of the draw share no site with this one.
    cohorts = [frozenset(entry.cohort) for entry in opened if entry.kind == name]
    before = [cohort for cohort in cohorts if cohort & due]
    try:
        check_cohort_change(here, opened=before, minimum_cohort=minimum)
    except SecaggAbort:
        # A site that came later trains in the next run; it counts in the count sums of this one.
        _require(before[-1], here, f"{asked}: sites answer the cohort that they answered before")
        return tuple(sorted(before[-1]))
    return tuple(sorted(here))


def _require(wanted: Collection[str], here: Collection[str], why: str) -> None:
    missing = set(wanted) - set(here)
    if missing:
        raise MissingSitesError(why, missing)
