"""What a member says of a sum that passed its check, and when another member may believe it.

A site that was away lacks the RESULT of a sum, and with it what the next adapter follows from. It
takes the sum later if the coordinator's OPEN and RESULT come with enough members' CHECKED.

How many: as many as may open a sum over that cohort, `SecaggTerms.threshold`, among the survivors.
An honest member signs one total of a round. Two totals over one cohort with t signers each would
have 2t - n > c signers in common, more than there are colluders, so one of them honest: of each
cohort there is one total at most that anyone can be made to believe. At least t - c >= 2 of the
signers are honest, and no total that one of them found false gets that member's CHECKED. An honest
coordinator can have as many: t sites confirmed the survivors before the sum was opened.
Docs: docs/secagg.md, "A site that was away".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from fedethics.errors import SecaggReject
from fedethics.secagg import framing, masking, rules
from fedethics.secagg.framing import Frame, Kind
from fedethics.secagg.messages import Party, receive
from fedethics.secagg.outcomes import Opening, Result
from fedethics.secagg.site_checks import read_opening
from fedethics.secagg.site_state import SessionState
from fedethics.secagg.store_transaction import StoreTransaction
from fedethics.secagg.terms import SecaggTerms, SumSpec

_PARTS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedSum:
    """A sum as it is sent to a site that was away: nothing of it is believed yet.

    Attributes:
        opened: the coordinator's OPEN.
        result: its RESULT.
        statements: members' CHECKED.
        start: little-endian float32 of the adapter that a sum of updates is to be added to; empty
            where the receiver derives that adapter bit for bit.
    """

    opened: bytes
    result: bytes
    statements: tuple[bytes, ...]
    start: bytes = b""


def pack_missed(sums: Iterable[CheckedSum]) -> bytes:
    """Return sums as one payload for a site that was away; empty if there are none."""
    return framing.pack(
        framing.pack([one.opened, one.result, one.start, framing.pack(one.statements)])
        for one in sums
    )


def unpack_missed(data: bytes) -> tuple[CheckedSum, ...]:
    """Take apart what `pack_missed` joined, in its order.

    Raises:
        SecaggReject: the parts do not add up.
    """
    found = []
    for entry in framing.unpack(memoryview(data)):
        parts = framing.unpack(memoryview(entry))
        if len(parts) != _PARTS:
            raise SecaggReject(f"a sum sent along has {len(parts)} parts, expected {_PARTS}")
        opened, result, start, statements = parts
        said = tuple(framing.unpack(memoryview(statements)))
        found.append(CheckedSum(opened=opened, result=result, start=start, statements=said))
    return tuple(found)


def statement(member: Party, session: SessionState) -> bytes:
    """Return the CHECKED of a finished session; the caller says that the check passed.

    Raises:
        SecaggReject: the session has no sum yet, or this site is not in it.
    """
    if session.stage != "finished" or member.name not in session.survivors:
        raise SecaggReject("CHECKED is said of a sum that this site is in and was told")
    opening = session.opening
    return member.message(
        Kind.CHECKED,
        session=opening.session_id,
        run=opening.run,
        task=opening.aggregate,
        round=opening.round_number,
        survivors=rules.sites_hash(session.survivors),
        total=session.root,
    )


def check_statement(
    frame: Frame, *, opening: Opening, survivors: Collection[str], total: bytes
) -> None:
    """Check that a genuine CHECKED is about this sum, and comes from a site that is in it.

    Args:
        frame: the CHECKED.
        opening: the sum's OPEN.
        survivors: the sites in the sum.
        total: the root of the RESULT.

    Raises:
        SecaggReject: it does not.
    """
    sender = frame.header["sender"]
    said = {name: frame.header[name] for name in ("session", "run", "task", "round")}
    said |= {name: frame.header[name] for name in ("survivors", "total")}
    if sender not in survivors or said != {
        "session": opening.session_id,
        "run": opening.run,
        "task": opening.aggregate,
        "round": opening.round_number,
        "survivors": rules.sites_hash(survivors),
        "total": total.hex(),
    }:
        raise SecaggReject(f"CHECKED of {sender} is not of this sum")


def believe(
    member: Party, step: StoreTransaction, missed: CheckedSum, spec: SumSpec
) -> tuple[Opening, Result]:
    """Return a sum that this site was not told itself, once enough members vouch for it.

    Raises:
        SecaggReject: not a sum of this charter, not over enough sites, not within the aggregate's
            bounds, or vouched for by too few members. A statement that is not genuine, is of
            another sum, or whose key was revoked here refuses the whole.
    """
    terms = member.terms
    opened = receive(missed.opened, kind=Kind.OPEN, terms=terms)
    opening = read_opening(opened)
    if opening.aggregate != spec.name or opened.header["spec_hash"] != spec.hash:
        raise SecaggReject(f"the sum sent along is not sum {spec.name!r} of this charter")
    result = receive(missed.result, kind=Kind.RESULT, terms=terms, max_body_bytes=spec.body_bytes)
    survivors = tuple(result.header["survivors"])
    where = f"the {spec.name} sum of round {opening.round_number} sent along"
    if result.header["session"] != opening.session_id:
        raise SecaggReject(f"{where} brings the RESULT of another session")
    _check_sites(where, opening, survivors, terms)
    signers: set[str] = set()
    for message in missed.statements:
        frame = receive(message, kind=Kind.CHECKED, terms=terms)
        check_statement(frame, opening=opening, survivors=survivors, total=result.root)
        sender: str = frame.header["sender"]
        if step.trust.is_revoked(terms.roster[sender]):
            raise SecaggReject(f"{where} is vouched for by {sender}, whose key was revoked here")
        signers.add(sender)
    needed = terms.threshold(len(opening.cohort))
    if len(signers) < needed:
        raise SecaggReject(
            f"{where} is vouched for by {len(signers)} members that checked it, {needed} are needed"
        )
    if len(result.body) != spec.body_bytes:
        raise SecaggReject(f"{where} has {len(result.body)} bytes, not those of its sum")
    total = masking.to_integers(result.body, spec)
    if masking.exceeds(total, spec=spec, sites=len(survivors)):
        raise SecaggReject(f"{where} is beyond what bounded vectors can reach")
    return opening, Result(
        session_id=opening.session_id,
        run=opening.run,
        aggregate=opening.aggregate,
        round_number=opening.round_number,
        total=total,
        survivors=survivors,
    )


def _check_sites(
    where: str, opening: Opening, survivors: tuple[str, ...], terms: SecaggTerms
) -> None:
    cohort = set(opening.cohort)
    if not set(survivors) <= cohort <= set(terms.roster):
        raise SecaggReject(f"{where} names sites that were not asked or are not on the roster")
    if len(survivors) < terms.smallest_sum(len(cohort)):
        raise SecaggReject(f"{where} is over {len(survivors)} of {len(cohort)} sites, too few")
