"""The coordinator's half of an epoch: gather bundles, relay them, open sessions.

Replay of an epoch or a session from its log: every message is checked again.

A message of a site is handed to the method that took it; one of the coordinator's own stands for
the end of a stage, which is closed again and must give the same bytes (`CoordinatorLog.append`
compares them). So a log that was changed is refused, or leads to the same state.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedethics.errors import CharterError, RunError, SecaggAbort, SecaggReject
from fedethics.identity import Identity
from fedethics.secagg import framing, graph, joining, rules
from fedethics.secagg.coordinator_log import CoordinatorLog, SliceArchive
from fedethics.secagg.coordinator_round import CoordinatorRound
from fedethics.secagg.framing import MAGIC, Frame, Kind
from fedethics.secagg.graph import graph_of, shape
from fedethics.secagg.messages import SYSTEM_CLOCK, Clock, Party, joined_bytes, receive
from fedethics.secagg.terms import COORDINATOR, SecaggTerms, SumSpec


class CoordinatorSecagg:
    """One epoch at the coordinator; a resumed run is a new epoch and a new object.

    It keeps no secret: everything it holds could be published, except for the shares revealed to
    it. All that it sends follows from the messages it took and the nonces of its own OPENs, since
    Ed25519 signatures do; so a log of messages is all of its memory.
    """

    def __init__(
        self,
        *,
        identity: Identity,
        terms: SecaggTerms,
        random_bytes: Callable[[int], bytes] = os.urandom,
        log: CoordinatorLog | None = None,
        now_s: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Coordinate under `terms`, whose coordinator key must be this identity's.

        Args:
            identity: the coordinator's.
            terms: of the charter.
            random_bytes: for the nonces of OPEN, nothing secret.
            now_s: seconds since 1970, to see whether a site's keys last.
            log: where the epoch's messages are kept, so that its sessions can be reopened; a log
                with messages in it is replayed. None keeps nothing.

        Raises:
            RunError: the log does not lead to an epoch.
            CharterError: it is another key.
        """
        if terms.coordinator_key != identity.public_key:
            raise CharterError("the charter names another coordinator key than this identity's")
        self._terms = terms
        self._member = Party(
            name=COORDINATOR,
            identity=identity,
            terms=terms,
            random_bytes=random_bytes,
            now_s=now_s,
        )
        self._bundles: dict[str, Frame] = {}
        self._acknowledgements: dict[str, Frame] = {}
        self._joined: dict[str, bytes] = {}
        self._roster: bytes | None = None
        self._epoch_hash = ""
        self._sessions = 0
        self._log = log
        if log is not None:
            self._replay(log)

    def add_announcement(self, message: bytes) -> str:
        """Take a site's EPOCH message; return the site's name.

        Raises:
            SecaggReject: not genuine, not for this epoch, a second one, late, or with unfit keys.
        """
        bundle = receive(message, kind=Kind.EPOCH, terms=self._terms)
        site: str = bundle.header["sender"]
        if site in self._bundles:
            if self._bundles[site].raw != message:
                raise SecaggReject(f"{site} announced two different bundles for one epoch")
            return site
        if self._roster is not None:
            raise SecaggReject(f"EPOCH of {site} came after the roster; it can join the next epoch")
        epochs = {held.header["epoch"] for held in self._bundles.values()}
        if epochs and bundle.header["epoch"] not in epochs:
            raise SecaggReject(f"EPOCH of {site} is for {bundle.header['epoch']}, not {epochs}")
        if bundle.header["suite"] != self._terms.suite:
            raise SecaggReject(f"EPOCH of {site} is for suite {bundle.header['suite']}")
        if self._log is None or self._log.upcoming() is None:  # a replay knows that it was sound
            joining.check_announcement(bundle, self._bundles, member=self._member)
        self._keep(message)
        self._bundles[site] = bundle
        return site

    def roster_message(self) -> bytes:
        """Close the epoch's membership and return the ROSTER, the same one each time.

        Raises:
            SecaggAbort: too few sites, or a key that occurs twice.
        """
        if self._roster is None:
            if not self._bundles:
                raise SecaggAbort("no site announced keys; there is no epoch to close")
            bundles = dict(sorted(self._bundles.items()))
            epoch: str = next(iter(bundles.values())).header["epoch"]
            joining.check_bundles(bundles, epoch=epoch, terms=self._terms)
            body = framing.pack(bundle.raw for bundle in bundles.values())
            self._epoch_hash = framing.tree_hash(body).hex()
            roster = self._member.message(Kind.ROSTER, body, epoch=epoch)
            self._keep(roster, durable=True)
            self._roster = roster
        return self._roster

    def add_acknowledgement(self, message: bytes) -> str:
        """Take a site's EPOCH_ACK; return the site's name.

        Raises:
            SecaggReject: not genuine, or for another roster than this epoch's.
        """
        limit = joined_bytes(self._terms)
        frame = receive(message, kind=Kind.EPOCH_ACK, terms=self._terms, max_body_bytes=limit)
        site: str = frame.header["sender"]
        if site not in self._bundles or frame.header["epoch_hash"] != self._epoch_hash:
            raise SecaggReject(f"EPOCH_ACK of {site} is for another roster than this epoch's")
        known = self._acknowledgements.get(site)
        if known is not None and known.raw != message:
            raise SecaggReject(f"{site} sent two different EPOCH_ACK messages")
        if known is None and self._joined:
            raise SecaggReject(f"EPOCH_ACK of {site} came after JOINED; it can join the next epoch")
        self._ciphertexts(frame)
        if self._terms.draws_ring:
            self._nonce(frame)
        if known is None:
            self._keep(message)
        self._acknowledgements[site] = frame
        return site

    def joined_messages(self) -> dict[str, bytes]:
        """Close the acknowledgements; return JOINED for each site, the same ones each time.

        Empty where sites need none (suites 1 and 2 without a ring). Otherwise a site must
        `complete` the epoch with it before it is asked to share; it can travel with the first
        OPEN.

        Raises:
            SecaggAbort: too few sites acknowledged; on a ring, not all of the roster.
        """
        if self._terms.relays_acknowledgements and not self._joined:
            joined = sorted(self._acknowledgements)
            needed = self._terms.minimum_cohort
            if self._terms.draws_ring:
                needed = len(self._bundles)
            if len(joined) < needed:
                silent = sorted(self._bundles.keys() - self._acknowledgements.keys())
                raise SecaggAbort(
                    f"{len(joined)} sites acknowledged the roster, {needed} are needed; there is "
                    f"no epoch. Try the next attempt without {', '.join(silent)}"
                )
            sent = {site: self._ciphertexts(self._acknowledgements[site]) for site in joined}
            frames = [self._acknowledgements[site] for site in joined]
            drawn = b"".join(map(self._nonce, frames)) if self._terms.draws_ring else b""
            told = {site: self._joined_to(site, sent, drawn) for site in joined}
            self._keep(told[joined[0]], durable=True)
            self._joined = told
        return dict(self._joined)

    def open(
        self,
        *,
        spec: SumSpec,
        round_number: int,
        model_hash: str,
        cohort: Sequence[str],
        keep: Path | None = None,
    ) -> CoordinatorRound:
        """Open a session: one sum of one aggregate in one round, over `cohort`.

        Args:
            spec: the kind of sum.
            round_number: of the run.
            model_hash: of the model that every site holds.
            cohort: the sites to ask.
            keep: a new file for the session's messages, so that it survives this process
                (`reopen`) and sites can check slices of the sum; None keeps nothing. The caller
                deletes it.

        Raises:
            SecaggReject: a site of the cohort has not joined the epoch.
            SecaggAbort: the charter forbids such a sum, and honest sites would refuse it.
        """
        missing = sorted(set(cohort) - self._acknowledgements.keys())
        if missing:
            raise SecaggReject(f"not in this epoch: {', '.join(missing)}; no session was opened")
        if self._terms.relays_acknowledgements and not self._joined:
            raise SecaggReject("JOINED was not relayed; sites cannot share before it comes")
        epoch: str = next(iter(self._bundles.values())).header["epoch"]
        graph, threshold = shape(
            len(set(cohort)), epoch_size=len(self._acknowledgements), terms=self._terms
        )
        header: dict[str, Any] = {
            "suite": self._terms.suite,
            "graph": graph,
            "mode": self._terms.mode,
            "epoch": epoch,
            "epoch_hash": self._epoch_hash,
            "counter": self._sessions,
            "run": epoch.rpartition("/")[0],
            "task": spec.name,
            "round": round_number,
            "cohort": sorted(set(cohort)),
            "threshold": threshold,
            "spec_hash": spec.hash,
            "model_hash": model_hash,
            "nonce": self._member.random_bytes(32).hex(),
        }
        rules.check_open(header, terms=self._terms, spec=spec, members=self._acknowledgements)
        message = self._member.message(Kind.OPEN, **header)
        opened = receive(message, kind=Kind.OPEN, terms=self._terms)
        self._sessions += 1
        return self._session(opened, spec, None if keep is None else CoordinatorLog.create(keep))

    def reopen(self, kept: Path, *, specs: Mapping[str, SumSpec]) -> CoordinatorRound:
        """Take up a session of this epoch where the messages in `kept` end.

        Guarantee: whatever it sends from there on is what this session would have sent.

        Raises:
            RunError: the messages are of another epoch or charter, or contradict each other.
        """
        log = CoordinatorLog.open(kept)
        try:
            opened = receive(log.upcoming() or b"", kind=Kind.OPEN, terms=self._terms)
            if opened.header["epoch_hash"] != self._epoch_hash:
                raise SecaggReject(f"its epoch is {opened.header['epoch']}, another one")
            self._sessions = max(self._sessions, opened.header["counter"] + 1)
            session = self._session(opened, specs[opened.header["task"]], log)
            replay(session, log)
        except (SecaggReject, SecaggAbort, KeyError) as fault:
            raise RunError(f"{kept} does not hold a session of this epoch: {fault}") from fault
        return session

    def _session(
        self, opened: Frame, spec: SumSpec, log: CoordinatorLog | None
    ) -> CoordinatorRound:
        drawn = graph_of(opened.header["cohort"], ring=self._ring(), terms=self._terms)
        archive = None if log is None else SliceArchive(log=log)
        return CoordinatorRound(
            member=self._member, opened=opened, spec=spec, graph=drawn, archive=archive
        )

    def _keep(self, message: bytes, *, durable: bool = False) -> None:
        if self._log is not None:
            self._log.append(message, durable=durable)

    def _replay(self, log: CoordinatorLog) -> None:
        try:
            replay_epoch(self, log)
        except (SecaggReject, SecaggAbort) as fault:
            raise RunError(f"{log.path} does not hold an epoch: {fault}") from fault

    def _ciphertexts(self, acknowledgement: Frame) -> dict[str, bytes]:
        site: str = acknowledgement.header["sender"]
        size = 2 * self._terms.key_agreement.ciphertext_bytes
        after = [peer for peer in sorted(self._bundles) if peer > site] if size else []
        found = framing.records(acknowledgement.body, record_bytes=size, count=len(after))
        return dict(zip(after, found, strict=True))

    def _joined_to(
        self, recipient: str, sent: Mapping[str, Mapping[str, bytes]], drawn: bytes
    ) -> bytes:
        joined = sorted(sent)
        before = [peer for peer in joined if peer < recipient and sent[peer]]
        ciphertexts = [sent[peer][recipient] for peer in before]
        return self._member.message(
            Kind.JOINED,
            b"".join([drawn, *ciphertexts]),
            epoch=self._acknowledgements[recipient].header["epoch"],
            epoch_hash=self._epoch_hash,
            recipient=recipient,
            joined=joined,
        )

    def _nonce(self, acknowledgement: Frame) -> bytes:
        site: str = acknowledgement.header["sender"]
        bundle, nonce = self._bundles[site].header, acknowledgement.header["ring_nonce"]
        opened = graph.nonce_commitment(bytes.fromhex(nonce), epoch=bundle["epoch"], site=site)
        if opened != bundle["ring_commitment"]:
            raise SecaggReject(f"EPOCH_ACK of {site}: the ring nonce is not what it committed to")
        return bytes.fromhex(nonce)

    def _ring(self) -> tuple[str, ...]:
        if not self._terms.draws_ring:
            return ()
        nonces = {site: self._nonce(frame) for site, frame in self._acknowledgements.items()}
        return graph.drawn_order(nonces, epoch_hash=bytes.fromhex(self._epoch_hash))


_KIND_AT = len(MAGIC) + 1


def replay_epoch(epoch: CoordinatorSecagg, log: CoordinatorLog) -> None:
    """Bring a fresh epoch to where its log ends.

    Raises:
        SecaggReject, SecaggAbort, RunError: the log does not lead there.
    """
    _replay(
        log,
        {
            Kind.EPOCH: epoch.add_announcement,
            Kind.ROSTER: lambda _: epoch.roster_message(),
            Kind.EPOCH_ACK: epoch.add_acknowledgement,
            Kind.JOINED: lambda _: epoch.joined_messages(),
        },
    )


def replay(session: CoordinatorRound, log: CoordinatorLog) -> None:
    """Bring a session whose OPEN was just replayed to where its log ends.

    Raises:
        SecaggReject, SecaggAbort, RunError: the log does not lead there.
    """
    _replay(
        log,
        {
            Kind.SHARE: session.add_share,
            Kind.FORWARD: lambda _: session.forward(),
            Kind.MASKED: session.add_masked,
            Kind.SURVIVORS: lambda _: session.survivors(),
            Kind.CONFIRM: session.add_confirm,
            Kind.PROOF: lambda _: session.proof(),
            Kind.REVEAL: session.add_reveal,
            Kind.RESULT: lambda _: session.result(),
        },
    )


def epoch_of(kept: Path) -> str | None:
    """Return the id of the epoch that the session in `kept` belongs to; None if it never began.

    Raises:
        RunError: what is in the file does not begin with an OPEN.
    """
    message = CoordinatorLog.open(kept).upcoming()
    if message is None:
        return None
    try:
        header = framing.decode(message, kind=Kind.OPEN, max_body_bytes=0).header
        return str(header["epoch"])
    except (SecaggReject, KeyError) as fault:
        raise RunError(f"{kept} does not hold a session: {fault}") from fault


def _replay(log: CoordinatorLog, doors: Mapping[Kind, Callable[[bytes], object]]) -> None:
    while (message := log.upcoming()) is not None:
        before = log.position
        door = doors.get(_kind(message))
        if door is None:
            raise SecaggReject(f"it holds a {_kind(message).name} message, which is out of place")
        door(message)
        if log.position == before:
            raise SecaggReject(f"its {_kind(message).name} message changes nothing")


def _kind(message: bytes) -> Kind:
    try:
        return Kind(message[_KIND_AT])
    except (IndexError, ValueError) as error:
        raise SecaggReject("it holds what is no message") from error
