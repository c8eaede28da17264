"""A site's first look at a session: is this OPEN one that it may answer?"""

from __future__ import annotations

from fedethics import canonical
from fedethics.errors import SecaggAbort, SecaggReject
from fedethics.secagg import rules
from fedethics.secagg.framing import Frame
from fedethics.secagg.member import Member
from fedethics.secagg.outcomes import Opening
from fedethics.secagg.site_state import CLOSED, EpochState
from fedethics.secagg.store_transaction import StoreTransaction
from fedethics.secagg.terms import TaskSpec

# Roots are hashed forward once a session; a bound keeps one message from costing hours.
MAX_SESSIONS_AHEAD = 10_000


def verify_open(
    member: Member, step: StoreTransaction, message: Frame, spec: TaskSpec
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


def check_round(member: Member, step: StoreTransaction, opening: Opening) -> None:
    """Check that a round was neither opened nor refused, and that its cohort is allowed.

    Raises:
        SecaggAbort: see above.
    """
    charter = member.terms.charter_hash
    verdict = step.verdict(charter, opening.run, opening.task, opening.round_number)
    if verdict is not None:
        raise SecaggAbort(
            f"round {opening.round_number} of task {opening.task!r} in run {opening.run} was "
            f"already {verdict} at this site; a second sum over the same data stays closed. "
            "Go on with the next round"
        )
    rules.check_cohort_change(
        opening.cohort,
        opened=step.opened_cohorts(charter, opening.run, opening.task),
        minimum_cohort=member.terms.minimum_cohort,
    )


def read_opening(message: Frame) -> Opening:
    """Return what an OPEN says; its session id is the SHA-256 of the whole message."""
    header = message.header
    return Opening(
        session_id=canonical.sha256_hex(message.raw),
        run=header["run"],
        task=header["task"],
        round_number=header["round"],
        cohort=tuple(header["cohort"]),
        threshold=header["threshold"],
        model_hash=header["model_hash"],
    )


def _check_memory(
    member: Member, step: StoreTransaction, opening: Opening, epoch: EpochState
) -> None:
    check_round(member, step, opening)
    if opening.round_number < epoch.round_number:
        raise SecaggReject(
            f"OPEN: round {opening.round_number}, but this site shared in round "
            f"{epoch.round_number}; within an epoch rounds never go back"
        )


def _check_keys(member: Member, counter: int, epoch: EpochState) -> None:
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
