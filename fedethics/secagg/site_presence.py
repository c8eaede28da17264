"""Who is still there: a site's checks of the sets U1 and U2, and of the proof that all agree."""

from __future__ import annotations

from dataclasses import replace

from fedethics.errors import SecaggAbort, SecaggReject
from fedethics.secagg import framing, rules
from fedethics.secagg.framing import Frame, Kind
from fedethics.secagg.member import Member
from fedethics.secagg.messages import receive
from fedethics.secagg.site_state import SessionState


def check_present(
    member: Member,
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


def accept_survivors(member: Member, session: SessionState, message: Frame) -> SessionState:
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
        raise SecaggAbort("SURVIVORS speaks of other sharing sites than FORWARD did")
    check_present(member, session, survivors, of=session.shared, stage="SURVIVORS")
    if roots[survivors.index(member.name)] != session.root:
        raise SecaggAbort("SURVIVORS gives another root for this site's masked vector")
    view = rules.view_hash(sid, shared=session.shared, survivors=survivors, roots=roots)
    return replace(session, stage="confirmed", survivors=survivors, view=view)


def check_proof(member: Member, session: SessionState, message: Frame) -> None:
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
