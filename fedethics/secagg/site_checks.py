"""What a site checks of the coordinator in a session, and what it does when it catches a lie.

Who is still there: a site's checks of the sets U1 and U2, and of the proof that all agree.

What a site does when it catches a lie: end the session and keep the signed proof.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from fedethics import canonical
from fedethics.errors import SecaggAbort, SecaggReject
from fedethics.secagg import framing, rules
from fedethics.secagg.framing import Frame, Kind
from fedethics.secagg.messages import Party, receive
from fedethics.secagg.outcomes import Opening
from fedethics.secagg.site_state import CLOSED, EpochState, SessionState
from fedethics.secagg.store import SiteStore
from fedethics.secagg.store_transaction import StoreTransaction
from fedethics.secagg.terms import SecaggTerms, SumSpec

# Roots are hashed forward once a session; a bound keeps one message from costing hours.
MAX_SESSIONS_AHEAD = 10_000


def verify_open(
    member: Party, step: StoreTransaction, message: Frame, spec: SumSpec
) -> tuple[Opening, EpochState]:
    """Check an OPEN against the charter, the epoch and what this site has opened before.

    Raises:
        SecaggReject: a replay, an epoch that was not joined or has expired, or a session or round
            that lies behind.
        SecaggAbort: the coordinator asks for what the charter or this site's memory forbids.
    """
    header, charter = message.header, member.terms.charter_hash
    opening = read_opening(message)
    known = step.session(opening.session_id)
    if known is not None and known.stage in CLOSED:
        raise SecaggReject(f"OPEN is a replay: its session is {known.stage}")
    epoch = step.epoch(charter, header["epoch"])
    if epoch is None or not epoch.acknowledgement:
        raise SecaggReject(f"OPEN: epoch {header['epoch']} was not joined here")
    if epoch.awaiting is not None:
        raise SecaggReject(f"OPEN: the JOINED of epoch {header['epoch']} has not come")
    if epoch.epoch_hash != header["epoch_hash"]:
        raise SecaggAbort("OPEN: other sites were shown another ROSTER of this epoch")
    rules.check_open(header, terms=member.terms, spec=spec, members={member.name, *epoch.roots})
    if member.name not in opening.cohort:
        raise SecaggAbort(f"OPEN was sent to {member.name} and does not list it")
    if known is None:
        # Keys first: an old message that comes late is refused, and is nobody's lie.
        _check_keys(member, header["counter"], epoch)
        _check_memory(member, step, opening, epoch)
    return opening, epoch


def check_round(member: Party, step: StoreTransaction, opening: Opening) -> None:
    """Check that a round was neither opened nor refused, and that its cohort is allowed.

    Raises:
        SecaggAbort: see above.
    """
    charter = member.terms.charter_hash
    verdict = step.verdict(charter, opening.run, opening.aggregate, opening.round_number)
    if verdict is not None:
        raise SecaggAbort(
            f"round {opening.round_number} of sum {opening.aggregate!r} in run {opening.run} was "
            f"already {verdict} at this site; a second sum over the same data stays closed. "
            "Go on with the next round"
        )
    rules.check_cohort_change(
        opening.cohort,
        opened=step.opened_cohorts(charter, opening.run, opening.aggregate),
        minimum_cohort=member.terms.minimum_cohort,
    )


def read_opening(message: Frame) -> Opening:
    """Return what an OPEN says; its session id is the SHA-256 of the whole message."""
    header = message.header
    return Opening(
        session_id=canonical.sha256_hex(message.raw),
        run=header["run"],
        aggregate=header["task"],
        round_number=header["round"],
        cohort=tuple(header["cohort"]),
        threshold=header["threshold"],
        model_hash=header["model_hash"],
    )


def _check_memory(
    member: Party, step: StoreTransaction, opening: Opening, epoch: EpochState
) -> None:
    check_round(member, step, opening)
    if opening.round_number < epoch.round_number:
        raise SecaggReject(
            f"OPEN: round {opening.round_number}, but this site shared in round "
            f"{epoch.round_number}; within an epoch rounds never go back"
        )


def _check_keys(member: Party, counter: int, epoch: EpochState) -> None:
    if member.now_s() >= epoch.expires_s:
        raise SecaggReject(
            f"OPEN: the keys of epoch {epoch.epoch} have expired; announce the next attempt of "
            "the run, which brings fresh ones"
        )
    if not 0 <= counter - epoch.counter <= MAX_SESSIONS_AHEAD:
        raise SecaggReject(
            f"OPEN has counter {counter}, but this epoch's keys stand at {epoch.counter} and reach "
            f"{MAX_SESSIONS_AHEAD} further; keys of earlier sessions are deleted"
        )


def check_present(
    member: Party,
    session: SessionState,
    subset: tuple[str, ...],
    *,
    of: tuple[str, ...],
    stage: str,
    listed: bool = True,
) -> None:
    """Check a set of sites still present (U1 or U2) against the set before it.

    Raises:
        SecaggAbort: see `rules.check_subset` and `rules.check_neighbours`; `listed` says whether
            this site must be in it.
    """
    rules.check_subset(
        subset,
        of=of,
        cohort=session.opening.cohort,
        terms=member.terms,
        spec=session.spec,
        site=member.name if listed else None,
        stage=stage,
    )
    if session.neighbours is not None and member.name in subset:
        rules.check_neighbours(
            subset,
            neighbours=session.neighbours,
            threshold=session.opening.threshold,
            stage=stage,
        )


def accept_survivors(member: Party, session: SessionState, message: Frame) -> SessionState:
    """Check a SURVIVORS message; return the session as it stands once they are agreed to.

    Raises:
        SecaggReject: not one root for each survivor.
        SecaggAbort: the message is a lie.
    """
    header, sid = message.header, session.opening.session_id
    survivors: tuple[str, ...] = tuple(header["survivors"])
    roots: list[str] = header["roots"]
    if len(roots) != len(survivors):
        raise SecaggReject("SURVIVORS does not give one root for each survivor")
    if header["shared_hash"] != rules.shared_hash(sid, session.shared):
        raise SecaggAbort("SURVIVORS names other sharing sites than FORWARD did")
    check_present(member, session, survivors, of=session.shared, stage="SURVIVORS")
    if roots[survivors.index(member.name)] != session.root:
        raise SecaggAbort("SURVIVORS gives another root for this site's masked vector")
    view = rules.view_hash(sid, shared=session.shared, survivors=survivors, roots=roots)
    return replace(session, stage="confirmed", survivors=survivors, view=view)


def check_proof(member: Party, session: SessionState, message: Frame) -> None:
    """Check that enough survivors confirmed the view that this site confirmed.

    Raises:
        SecaggAbort: too few, or a CONFIRM that is not genuine, or one of another view.
    """
    agreed: set[str] = set()
    try:
        for part in framing.unpack(message.body):
            vote = receive(part, kind=Kind.CONFIRM, terms=member.terms)
            if vote.header["session"] != session.opening.session_id:
                raise SecaggAbort("PROOF holds a CONFIRM of another session")
            if vote.header["view"] != session.view:
                raise SecaggAbort(
                    f"PROOF: {vote.header['sender']} was shown other survivors or other roots"
                )
            agreed.add(vote.header["sender"])
    except SecaggReject as fault:
        raise SecaggAbort(f"PROOF holds a CONFIRM that is not genuine: {fault}") from fault
    agreed &= set(session.survivors)
    quorum = member.terms.threshold(len(session.opening.cohort))
    if len(agreed) < quorum:
        raise SecaggAbort(
            f"PROOF: {len(agreed)} survivors confirmed, {quorum} are needed; no share was revealed"
        )


# A lie here means that the epoch's keys are not what the sites believe.
_BURNS_THE_EPOCH = frozenset({Kind.ROSTER, Kind.JOINED})
# A lie this late may come with answers of other sites: the round stays closed for good.
_REFUSES_THE_ROUND = frozenset({Kind.SURVIVORS, Kind.PROOF})


class Contradiction(SecaggAbort):
    """Two signed messages that cannot both be true; `earlier` is the one that came first."""

    def __init__(self, text: str, *, earlier: bytes) -> None:
        self.earlier = earlier
        super().__init__(text)


@contextmanager
def catching_lies(store: SiteStore, terms: SecaggTerms, message: Frame) -> Iterator[None]:
    """Run a step; if it finds `message` to be a lie, settle that durably and raise on.

    The step itself has been rolled back by then. A lying ROSTER or JOINED burns its epoch; a lie
    within a session wipes the session; from SURVIVORS on, the round is refused permanently.
    """
    try:
        yield
    except SecaggAbort as lie:
        charter, header = terms.charter_hash, message.header
        with store.transaction() as step:
            step.record_lie(
                charter,
                signer=header["sender"],
                reason=str(lie),
                message=message.raw,
                earlier=lie.earlier if isinstance(lie, Contradiction) else b"",
            )
            if message.kind in _BURNS_THE_EPOCH:
                epoch = step.epoch(charter, header["epoch"])
                if epoch is not None:
                    step.burn_epoch(charter, epoch)
            session = step.session(header.get("session", ""))
            if session is not None:
                if message.kind in _REFUSES_THE_ROUND:
                    step.close_round(charter, session, "refused", survivors=())
                step.close_session(session.opening.session_id, "aborted")
        raise
