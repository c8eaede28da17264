"""Secure sums over the legs of the federation: opened, taken up after a crash, and settled.

Work first, aggregate after: the shares ride on the reply to TRAIN or EVALUATE, so a site that is
lost while it computes costs only its own contribution.

A sum's file (`protocol_files.py`) says how far it came. Until sites were asked to reveal, it may be
given up: the same noised answers are summed again under fresh masks. From then on it is the only
sum of its round that honest sites will ever open, so it is finished, however often the coordinator
dies on the way. Once it is committed, the sites in it are told and check it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedethics import charter_sums
from fedethics.aggregates.registry import aggregate
from fedethics.aggregates.schedule import sum_specs
from fedethics.canonical import Json
from fedethics.charter.cohorts import drawn
from fedethics.coordinator.cohort import cohort_of
from fedethics.coordinator.enrolment import Enrolment
from fedethics.coordinator.events import EventLog
from fedethics.coordinator.federation import Federation
from fedethics.coordinator.job import Job
from fedethics.coordinator.protocol_files import CheckedSums, ProtocolFiles
from fedethics.coordinator.refusals import what_to_do
from fedethics.errors import RunError, SecaggAbort, SecaggReject
from fedethics.protocol import Action
from fedethics.secagg import CoordinatorRound, SumSpec, pack_missed
from fedethics.secagg.coordinator import epoch_of
from fedethics.secagg.coordinator_log import CoordinatorLog
from fedethics.training.learner import Learner

_ATTEMPTS = 2
_ANSWERS_AT_ONCE = 16  # a SLICE is about as large as the vector


class UnfinishedOpeningError(RunError):
    """Sites were asked to reveal and too few have: the same sum is to be finished later."""


@dataclass(frozen=True)
class Sums:
    """Opens the sums of one job, each step on disk before a message about it is sent."""

    job: Job
    federation: Federation
    enrolment: Enrolment
    learner: Learner
    files: ProtocolFiles
    events: EventLog

    @cached_property
    def checked(self) -> CheckedSums:
        """The sums with the members' word that they checked them."""
        return CheckedSums(self.job.path)

    @cached_property
    def specs(self) -> dict[str, SumSpec]:
        """The sums that the charter allows."""
        length = self.learner.size
        return sum_specs(self.job.charter, vector_length=length)

    def open(
        self,
        name: str,
        number: int,
        adapter: NDArray[np.float32],
        *,
        sent: Mapping[str, bytes] | None = None,
    ) -> CoordinatorRound:
        """Open the sum of `name` in round `number` over answers to `adapter`, shape (p,).

        Args:
            name: which sum.
            number: the round, from 1.
            adapter: what sites answer to.
            sent: what is sent along, by name, such as earlier sums that sites know already.

        Raises:
            RunError: too few sites, or, for counts, fewer than all; nothing was opened, or (an
                `UnfinishedOpeningError`) the opening is to be finished when the job is resumed.
        """
        reason = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._await_sites(name, number)
            # Sites answer no opening while one that they shared in is not told and proven.
            self.settle_all()
            self.federation.refusals.clear()
            try:
                session = self._masked(name, number, adapter, sent or {})
            except SecaggAbort as error:
                reason = str(error)
                self.events.write("sum-abandoned", kind=name, round=number, why=reason)
                continue
            self._reveal(session)
            return session
        raise RunError(
            f"the {name} sum of round {number} could not be opened after {_ATTEMPTS} attempts: "
            f"{reason}. What was reserved stays charged at the sites; committed rounds are kept. "
            f"{what_to_do(self.federation.refusals)}"
        )

    def interrupted(self) -> CoordinatorRound | None:
        """Finish the opening that the coordinator died in, if there is one; forget what is stale.

        No epoch is needed: a site that was asked to reveal answers again with the same bytes.

        Raises:
            UnfinishedOpeningError: too few of its sites are here.
        """
        for name, number, path in self.files.sessions():
            if self.job.is_committed(name, number):
                continue
            session = self._reopened(path)
            if session is None or not session.may_be_open:
                self.events.write(
                    "sum-abandoned", kind=name, round=number, why="the coordinator stopped"
                )
                self.files.forget(path)
                continue
            self.events.write("opening-resumed", kind=name, round=number)
            self._reveal(session, anyone=True)
            return session
        return None

    def settle(self, session: CoordinatorRound) -> None:
        """Tell a committed sum to the sites in it, answer their checks of it, and forget it.

        A site answers with its signed word that the sum passed its check, which is kept for sites
        that are away now. One that is not there, or finds the sum false, leaves the sum unsettled:
        it is told again before the next opening, before the run is closed, and when the job is
        resumed.
        """
        opened, about, name = session.result(), _about(session), session.aggregate
        untold = set(opened.survivors) - self.checked.signers(name, session.round_number)
        told = {
            site: {"result": opened.message}
            for site in opened.survivors
            if site in untold and site in self.federation.sites
        }
        if self.job.charter.secagg.verify_slices:
            leg = self.federation.leg
            self._prove(session, leg(Action.RESULT, told, "slice-request", bytes, about))
        else:
            self._vouched(session, Action.RESULT, told)
        if self.checked.signers(name, session.round_number) >= set(opened.survivors):
            self.files.forget(self.files.session(name, session.round_number))

    def settle_all(self) -> None:
        """Settle what was committed and not settled, as far as the sites are here."""
        for name, number, path in self.files.sessions():
            entry = self.job.committed(name, number)
            if entry is None:
                continue
            untold = set(entry.survivors) - self.checked.signers(name, number)
            if not untold:
                self.files.forget(path)
            elif untold & set(self.federation.sites):
                session = self._reopened(path)
                if session is not None:
                    self.settle(session)

    def _masked(
        self, name: str, number: int, adapter: NDArray[np.float32], sent: Mapping[str, bytes]
    ) -> CoordinatorRound:
        """Begin a session and bring it to where shares can be revealed; none is revealed yet."""
        session = self._begin(name, number, self.learner.model_hash(adapter))
        about = _about(session)
        leg = self.federation.leg
        kind = aggregate(name)
        work = {
            "open": session.open_message,
            "adapter": adapter.astype("<f4").tobytes(),
            **{name: data for name, data in sent.items() if data},
        }
        after = kind.adapter_round(number)
        asked, packed = {}, dict[int, bytes]()
        for site in session.cohort:
            since = self.checked.last_checked(site, before=after)
            if since not in packed:
                packed[since] = self._missed(since, after=after)
            asked[site] = work | ({"missed": packed[since]} if packed[since] else {})
        leg(kind.action, asked, "share", session.add_share, about)
        forward = _each("forward", session.forward())
        leg(Action.FORWARD, forward, "masked", session.add_masked, about)
        survivors = _each("survivors", session.survivors())
        if self.job.charter.secagg.mode == "strict":
            leg(Action.SURVIVORS, survivors, "confirm", session.add_confirm, about)
            session.proof()
        return session

    def _await_sites(self, name: str, number: int) -> None:
        """Let sites that lost their connection come back, where the job could not go on without."""
        everyone, kind = len(self.federation.sites), aggregate(name)
        if not kind.whole_roster:
            terms = charter_sums.secagg_terms(self.job.charter, charter_hash=self.job.charter_hash)
            cohort = len(set(drawn(self.job.charter, number)) & set(self.federation.sites))
            # As many may be away as the cohort can do without, since they may all be of it.
            spare = cohort - min(terms.smallest_sum(cohort), cohort)
            self.federation.await_connected(enough=everyone - spare)
        elif not kind.skippable:
            self.federation.await_connected(enough=everyone)

    def _begin(self, name: str, number: int, model_hash: str) -> CoordinatorRound:
        job, epoch = self.job, self.federation.epoch
        if epoch is None:
            raise RunError("no site is enrolled; nothing was asked")
        cohort = cohort_of(
            name,
            number,
            charter=job.charter,
            enrolled=self.federation.sites,
            opened=job.state.sums,
        )
        path = self.files.session(name, number)
        self.files.forget(path)  # of an attempt that was given up before anything was revealed
        return epoch.open(
            spec=self.specs[name],
            round_number=number,
            model_hash=model_hash,
            cohort=cohort,
            keep=path,
        )

    def _reveal(self, session: CoordinatorRound, *, anyone: bool = False) -> None:
        """Ask for shares until the sum opens; the same request each time, for the same answer."""
        reason, about = "", _about(session)
        for attempt in range(_ATTEMPTS):
            if attempt:
                self.federation.await_connected(enough=len(self.federation.sites))
            asked = _each("proof", session.unrevealed())
            if anyone and asked:
                content = next(iter(asked.values()))
                nodes = self.federation.exchange.nodes()
                self.federation.broadcast(
                    Action.PROOF, nodes, content, "reveal", session.add_reveal, about
                )
            elif asked:
                self.federation.leg(Action.PROOF, asked, "reveal", session.add_reveal, about)
            try:
                session.result()
            except SecaggAbort as error:
                reason = str(error)
            else:
                return
        raise UnfinishedOpeningError(
            f"the {session.aggregate} sum of round {session.round_number} was being opened and "
            f"could not be finished: {reason} Nothing is lost and nothing is charged again. Resume "
            "the job when the sites are back. If they do not come back, start a new run, because "
            "no other sum of this round can be opened"
        )

    def _prove(self, session: CoordinatorRound, requests: Mapping[str, bytes]) -> None:
        """Answer what sites ask of the sum, and keep their word that it passed their check."""
        asking = [site for site, request in requests.items() if request]
        for start in range(0, len(asking), _ANSWERS_AT_ONCE):
            answers = {}
            for site in asking[start : start + _ANSWERS_AT_ONCE]:
                try:
                    answers[site] = {"slice": session.slice(requests[site])}
                except SecaggReject as error:
                    self.events.write("rejected", site=site, code=error.code, sentence=str(error))
            self._vouched(session, Action.SLICE, answers)

    def _vouched(
        self, session: CoordinatorRound, action: Action, asked: Mapping[str, Mapping[str, bytes]]
    ) -> None:
        """Ask sites for what they answer with their CHECKED, and keep it."""
        said: list[bytes] = []

        def take(message: bytes) -> None:
            session.add_checked(message)
            said.append(message)

        self.federation.leg(action, asked, "checked", take, _about(session))
        self.checked.add(
            session.aggregate,
            session.round_number,
            opened=session.open_message,
            result=session.result().message,
            statements=said,
        )

    def _missed(self, since: int, *, after: int) -> bytes:
        """Return the sums of updates that a site needs to derive the adapter after a round.

        Those after round `since`, the last that it checked itself, oldest first, each with the
        statements of the members that did; as far as they are kept. Empty where it needs none.
        """
        found = []
        for number in range(since + 1, after + 1):
            told = self.checked.load(charter_sums.UPDATE, number)
            if told is None:
                break
            if self.job.charter.adapter.form == "fedsvd":  # its bits are not the same everywhere
                start = self.job.adapter(self.learner.initial_vector(), after=number - 1)
                told = dataclasses.replace(told, start=start.astype("<f4").tobytes())
            found.append(told)
        return pack_missed(found)

    def _reopened(self, path: Path) -> CoordinatorRound | None:
        """Take up the session in `path`; None if the coordinator died before its OPEN was there."""
        name = epoch_of(path)
        if name is None:
            return None
        number = int(name.rpartition("/")[2])
        epoch = self.enrolment.epoch_in(CoordinatorLog.open(self.files.epoch(number)))
        return epoch.reopen(path, specs=self.specs)


def _about(session: CoordinatorRound) -> dict[str, Json]:
    return {"task": session.aggregate, "round": session.round_number}


def _each(name: str, messages: Mapping[str, bytes]) -> dict[str, dict[str, bytes]]:
    return {site: {name: message} for site, message in messages.items()}
