"""A site's part in the check of the sum: choose leaves, ask for them, check the answer."""

from __future__ import annotations

from fedethics import canonical
from fedethics.errors import SecaggReject
from fedethics.secagg import merkle
from fedethics.secagg.framing import LEAF_BYTES, Frame, Kind
from fedethics.secagg.graph import graph_of
from fedethics.secagg.member import Member
from fedethics.secagg.messages import receive
from fedethics.secagg.site_state import SessionState
from fedethics.secagg.slice_check import SliceCheck
from fedethics.secagg.store_transaction import StoreTransaction


def request(member: Member, step: StoreTransaction, session_id: str, random_leaves: int) -> bytes:
    """Return the SLICE_REQUEST of a finished session, the same one each time.

    Raises:
        SecaggReject: the session is not finished here, or this site is not in the sum.
    """
    session = _finished(step, session_id)
    before = step.reply(session_id, Kind.SLICE_REQUEST)
    if before is not None:
        return before[1]
    if member.name not in session.survivors:
        raise SecaggReject("slices are checked by sites in the sum; this site is not")
    leaves = _assigned(session, member.name) | _drawn(member, session, random_leaves)
    message = member.message(Kind.SLICE_REQUEST, session=session_id, leaves=sorted(leaves))
    # Kept before it leaves: a server that answers late does not get other leaves to answer.
    step.save_reply(session_id, Kind.SLICE_REQUEST, request=b"", reply=message)
    return message


def verify(member: Member, step: StoreTransaction, message: Frame) -> int:
    """Check a SLICE message; return how many coordinates it proves right.

    Raises:
        SecaggReject: not what this site asked for.
        SecaggAbort: the sum is false, or the coordinator cannot show that it is not.
    """
    header = message.header
    if header["recipient"] != member.name:
        raise SecaggReject(f"SLICE is for {header['recipient']}, this is {member.name}")
    session = _finished(step, header["session"])
    asked = step.reply(header["session"], Kind.SLICE_REQUEST)
    if asked is None:
        raise SecaggReject("SLICE: this site asked for none in this session")
    own = receive(asked[1], kind=Kind.SLICE_REQUEST, terms=member.terms)
    wanted: list[int] = own.header["leaves"]
    if header["leaves"] != wanted:
        raise SecaggReject(f"SLICE brings leaves {header['leaves']}, asked for were {wanted}")
    graph = graph_of(session.opening.cohort, ring=session.ring, terms=member.terms)
    SliceCheck(session=session, graph=graph, terms=member.terms).check(message)
    size = session.spec.body_bytes
    seen = sum(min(LEAF_BYTES, size - leaf * LEAF_BYTES) for leaf in wanted)
    return seen * 8 // session.spec.word_bits


def _assigned(session: SessionState, site: str) -> set[int]:
    """Return this site's share of the leaves; the survivors' shares together are all leaves."""
    bound = f"{session.opening.session_id}|{session.root}|"
    ranked = sorted(
        session.survivors, key=lambda name: canonical.sha256_hex((bound + name).encode("utf-8"))
    )
    leaves, rank = merkle.leaf_count(session.spec.body_bytes), ranked.index(site)
    if leaves <= len(ranked):
        return {rank % leaves}
    return set(range(rank, leaves, len(ranked)))


def _drawn(member: Member, session: SessionState, count: int) -> set[int]:
    # The assignment can be foreseen by whoever made the sum; these cannot.
    leaves = merkle.leaf_count(session.spec.body_bytes)
    return {int.from_bytes(member.random_bytes(16), "big") % leaves for _ in range(count)}


def _finished(step: StoreTransaction, session_id: str) -> SessionState:
    session = step.session(session_id)
    if session is None or session.stage != "finished" or not session.shared:
        raise SecaggReject(
            "slices are checked by sites whose vector is in the sum and that took the RESULT; this "
            "site did not in this session"
        )
    return session
