"""Enrolment: one epoch of keys for the sites that are willing, and another when more have come.

A node that refused, or was late, is asked again before every later round. If it is willing then,
all sites join a new epoch with it: it counts in the count sums at once, and in training unless a
training sum was opened without it (`cohort.py`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from fedethics import charter_sums
from fedethics.canonical import Json
from fedethics.coordinator.events import EventLog
from fedethics.coordinator.federation import Federation, untaken
from fedethics.coordinator.job import Job
from fedethics.coordinator.protocol_files import ProtocolFiles
from fedethics.coordinator.refusals import UNJOINED, of_sites, what_to_do
from fedethics.errors import RunError, SecaggAbort
from fedethics.protocol import Action
from fedethics.secagg import CoordinatorSecagg
from fedethics.secagg.coordinator_log import CoordinatorLog


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Brings sites into epochs."""

    job: Job
    federation: Federation
    files: ProtocolFiles
    events: EventLog

    def begin(self) -> None:
        """Enrol every willing site of the roster in a new epoch.

        Raises:
            RunError: fewer sites than the minimum cohort are willing; no record was touched.
        """
        self.federation.refusals.clear()
        epoch = self._new_epoch()
        self._join(epoch, self._announced(epoch, self.federation.exchange.nodes()))

    def complete(self) -> None:
        """Ask the nodes that are not enrolled again, if a site of the roster is missing."""
        before = set(self.federation.sites)
        strangers = self.federation.strangers()
        if not set(self.job.charter.site_names) - before or not strangers:
            return
        epoch = self._new_epoch()
        found = self._announced(epoch, strangers)
        if found.keys() - before:
            found |= self._announced(epoch, self.federation.exchange.nodes())
            # Never at the price of a site that is there: sums need those that were in them before.
            if found.keys() > before:
                self._join_or_stay(epoch, found, before)

    def _join_or_stay(
        self, epoch: CoordinatorSecagg, found: dict[str, int], before: Collection[str]
    ) -> None:
        """Join with the sites that are here; if that fails, with those of before in a new epoch.

        It fails, too, where one of those would be missing: it may be the newcomers that it refuses.
        """
        try:
            lost = sorted(set(before) - self._join(epoch, found))
            why = f"{', '.join(lost)} did not join with them" if lost else ""
        except (RunError, SecaggAbort) as error:
            why = str(error)
        if why:
            came = sorted(found.keys() - set(before))
            newcomers: list[Json] = [*came]
            self.events.write("enrolment-failed", newcomers=newcomers, why=why)
            refused = self.federation.refusals
            kept = {site: refused.get(site, UNJOINED) for site in came}
            refused.clear()
            refused.update(kept)  # why a sum lacks them; what members refused is over
            epoch = self._new_epoch()
            members = [found[site] for site in sorted(before)]
            self._join(epoch, self._announced(epoch, members))

    def _new_epoch(self) -> CoordinatorSecagg:
        """Return an epoch without members; its number is used up when its roster is told."""
        path = self.files.epoch(self.job.state.epochs)
        self.files.forget(path)
        return self.epoch_in(CoordinatorLog.create(path))

    def epoch_in(self, log: CoordinatorLog) -> CoordinatorSecagg:
        """Return the epoch whose messages are in `log`."""
        job = self.job
        terms = charter_sums.secagg_terms(job.charter, charter_hash=job.charter_hash)
        return CoordinatorSecagg(identity=job.identity, terms=terms, log=log)

    def _announced(self, epoch: CoordinatorSecagg, nodes: Collection[int]) -> dict[str, int]:
        """Ask nodes to announce their sites; return who did, and from which node."""
        name = f"{self.federation.run}/{self.job.state.epochs}"
        signed: dict[bytes, str] = {}

        def take(message: bytes) -> None:
            signed[message] = epoch.add_announcement(message)

        answers = self.federation.broadcast(
            Action.ANNOUNCE, nodes, {"epoch": name.encode("utf-8")}, "announcement", take
        )
        return {signed[message]: node for node, message in answers.items()}

    def _join(self, epoch: CoordinatorSecagg, found: dict[str, int]) -> set[str]:
        """Tell the members of each other, and go on with those that acknowledge.

        Returns:
            Those that have taken all that they were told.
        """
        self._require(found, "willing")
        self.job.begin_epoch()
        roster = epoch.roster_message()
        self.federation.adopt(epoch, found)
        joined = self.federation.leg(
            Action.JOIN,
            {site: {"roster": roster} for site in found},
            "acknowledgement",
            epoch.add_acknowledgement,
        )
        self.federation.keep(joined)
        self._require(joined, "enrolled")
        told = {site: {"joined": message} for site, message in epoch.joined_messages().items()}
        completed = self.federation.leg(Action.COMPLETE, told, "", untaken)
        return set(joined) - (set(told) - set(completed))

    def _require(self, sites: Collection[str], what: str) -> None:
        minimum, roster = self.job.charter.secagg.minimum_cohort, self.job.charter.site_names
        if len(sites) < minimum:
            absent = set(roster) - set(sites)
            why = of_sites(absent, self.federation.refusals, roster=roster)
            raise RunError(
                f"{len(sites)} of {len(roster)} sites are {what}"
                f"{': ' + ', '.join(sorted(sites)) if sites else ''}; the minimum cohort is "
                f"{minimum}, so no record was touched. "
                f"{what_to_do(why)}"
            )
