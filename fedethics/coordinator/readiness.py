"""Before sites are charged: can every sum that is left of the job still be opened?

Budget that was spent on a job whose last sum cannot be opened is lost. So before each sum that
sites are charged for, every later one is held to the charter's own rules, over the sites that are
enrolled and would still answer. A site that gave nothing to the sum before is asked first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedethics.aggregates.registry import aggregate
from fedethics.aggregates.schedule import Sum, sums_of
from fedethics.coordinator.cohort import MissingSitesError, cohort_of
from fedethics.coordinator.enrolment import Enrolment
from fedethics.coordinator.federation import Federation, untaken
from fedethics.coordinator.job import Job
from fedethics.coordinator.refusals import NOT_CONNECTED, SILENT, of_sites, what_to_do
from fedethics.errors import RunError
from fedethics.privacy.plan import PrivacyPlan
from fedethics.protocol import Action


@dataclass(frozen=True, slots=True)
class Readiness:
    """Holds what is left of a job to the sites that are there."""

    job: Job
    federation: Federation
    enrolment: Enrolment
    plan: PrivacyPlan

    def require(self) -> None:
        """Return if every sum that is left can be opened over the sites that are willing now.

        Sites that are not enrolled are asked again, and those that lost their connection are
        waited for as long as one that works.

        Raises:
            RunError: which sum cannot be opened, who is missing and why; nothing more was charged.
        """
        due = self._due()
        if not due:
            return
        self.federation.refusals.clear()
        self.enrolment.complete()
        self.federation.await_connected(enough=len(self.federation.sites))
        lost = self._lost()
        here, quorum = set(self.federation.sites) - set(lost), self.job.charter.secagg.quorum
        for name, number in due:
            try:
                cohort_of(
                    name,
                    number,
                    charter=self.job.charter,
                    enrolled=here,
                    opened=self.job.state.sums,
                )
            except MissingSitesError as lack:
                if quorum is not None and aggregate(name).skippable:
                    continue  # it is over everyone, and the run goes on without it
                raise RunError(self._told(lack, lost)) from lack

    def _due(self) -> list[Sum]:
        every = sums_of(self.job.charter, self.plan)
        return [(name, number) for name, number in every if not self.job.is_committed(name, number)]

    def _lost(self) -> dict[str, str]:
        """Return the enrolled sites that would answer nothing now, each with why."""
        away = self.federation.away()
        doubtful = sorted(self.federation.fallen - set(away))
        asked: dict[str, dict[str, bytes]] = {site: {} for site in doubtful}
        willing = self.federation.leg(Action.READY, asked, "", untaken)
        self.federation.fallen -= set(willing)
        refusals = self.federation.refusals
        unwilling = {site: refusals.get(site, SILENT) for site in asked if site not in willing}
        return {**dict.fromkeys(away, NOT_CONNECTED), **unwilling}

    def _told(self, lack: MissingSitesError, lost: Mapping[str, str]) -> str:
        roster = self.job.charter.site_names
        codes = {**of_sites(lack.missing, self.federation.refusals, roster=roster), **lost}
        told = {site: code for site, code in codes.items() if site in lack.missing}
        lacks = f", which lacks {', '.join(lack.missing)}" if lack.missing else ""
        charged = "more was charged" if self.job.state.sums else "was charged"
        return f"{lack.why}{lacks}. The job would not end, so nothing {charged}. {what_to_do(told)}"
