"""Which adapter a site answers to: the one that it derives itself, and no other.

The coordinator does not choose what is trained or measured. The adapter after a round follows from
the public start and from the opened sums of updates, by the charter's server step. A site takes
that step itself with each sum that it was told and that passed its check; for rounds in which it
was away, with the sums that enough other members vouch for (`fedethics.secagg.checked`). All sums
of a round are held to the same vector.

This is a second layer. What is computed of a record depends on that record alone for every adapter,
since a colluding site still moves the adapter within its clip.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedethics import charter_sums
from fedethics.aggregates.registry import aggregate
from fedethics.canonical import sha256_hex
from fedethics.errors import AdapterRefused, SecaggReject
from fedethics.secagg import CheckedSum, Opening, Result, unpack_missed
from fedethics.site.journal import Derived
from fedethics.site.request_context import RequestContext
from fedethics.training.factors import check_form
from fedethics.training.server_step import follows, moments_after, plain_step

Vector = NDArray[np.float32]


def require_derived(
    context: RequestContext, opening: Opening, adapter: Vector, missed: bytes
) -> None:
    """Refuse an adapter that does not follow from the public start and from sums believed here.

    Args:
        context: the site.
        opening: what is asked; its model hash is that of `adapter`.
        adapter: the adapter received, shape (p,).
        missed: what the coordinator sends along of rounds that this site was away in
            (`pack_missed`), oldest first; empty if none.

    Raises:
        AdapterRefused: it does not follow, or what it follows from is not known here and was not
            sent with enough members' statements. Nothing was computed or charged.
    """
    needed = aggregate(opening.aggregate).adapter_round(opening.round_number)
    if needed == 0:
        if adapter.tobytes() != context.learner.initial_vector().tobytes():
            raise AdapterRefused(_refusal(opening, needed, "it is not the agreed start"))
        if context.journal.derived(charter_hash=context.charter_hash, run=opening.run) is None:
            start = Derived(round_number=0, vector=adapter, held=True)
            context.journal.derive(context.question(opening), start)
        return
    held = context.journal.derived_sha256(
        charter_hash=context.charter_hash, run=opening.run, round_number=needed
    )
    if held is not None:
        if sha256_hex(adapter.astype("<f4").tobytes()) != held:
            reason = "it is another than the one that this site held after that round"
            raise AdapterRefused(_refusal(opening, needed, reason))
        return
    derived = _caught_up(context, opening, needed, missed)
    if derived.round_number != needed:
        raise AdapterRefused(
            _refusal(
                opening,
                needed,
                f"this site has the checked sums up to round {derived.round_number}; the "
                "coordinator must send it the others, each with the statements of enough members",
            )
        )
    form = context.charter.adapter.form
    if not follows(context.learner, adapter, derived.vector, form):
        reason = "it does not follow from the sums that were checked"
        raise AdapterRefused(_refusal(opening, needed, reason))
    held_now = Derived(round_number=needed, vector=adapter, held=True)
    context.journal.derive(context.question(opening), held_now)


def require_form(context: RequestContext, adapter: Vector, opening: Opening) -> None:
    """Refuse an adapter that the charter's form could not have come to by the opening's round.

    Raises:
        ModelError: it is not of that form; nothing was computed with it.
    """
    check_form(
        context.learner,
        adapter,
        context.charter.adapter,
        rounds_done=aggregate(opening.aggregate).adapter_round(opening.round_number),
    )


def step_after(context: RequestContext, result: Result) -> Derived | None:
    """Return the plain step that follows from a known sum of updates, and the server's memory.

    None for other sums, and where this site is not in the sum or does not hold what it is added to:
    then it takes the sum later, with the statements of those who checked it.
    """
    if not aggregate(result.aggregate).trains or context.site not in result.survivors:
        return None
    start = context.journal.derived(charter_hash=context.charter_hash, run=result.run)
    if start is None or start.round_number != result.round_number - 1 or not start.held:
        return None
    return _after(context, start, start.vector, result)


def _after(context: RequestContext, start: Derived, base: Vector, told: Result) -> Derived:
    """Return the plain step from `base`, the adapter of `start`, by the sum of the next round."""
    charter, total, survivors = context.charter, told.total, told.survivors
    return Derived(
        round_number=start.round_number + 1,
        vector=plain_step(
            base, charter=charter, total=total, survivors=survivors, moments=start.moments
        ),
        moments=moments_after(charter, total=total, survivors=survivors, moments=start.moments),
    )


def _caught_up(context: RequestContext, opening: Opening, needed: int, missed: bytes) -> Derived:
    """Return the newest adapter that this site can derive, with the help of what was sent along."""
    known = context.journal.derived(charter_hash=context.charter_hash, run=opening.run)
    current = known or Derived(round_number=0, vector=context.learner.initial_vector(), held=True)
    try:
        for told in unpack_missed(missed):
            if current.round_number < needed:
                current = _stepped(context, opening, current, told)
    except SecaggReject as fault:
        raise AdapterRefused(_refusal(opening, needed, str(fault))) from fault
    return current


def _stepped(
    context: RequestContext, asked: Opening, current: Derived, told: CheckedSum
) -> Derived:
    """Return the adapter after one more round; one that is known already is passed over.

    Raises:
        SecaggReject: the sum is not to be believed, or is not of the next round of this run.
    """
    opening, found = context.secagg.believe(told, spec=context.specs[charter_sums.UPDATE])
    if opening.run != asked.run:
        raise SecaggReject(f"a sum sent along is of run {opening.run!r}, asked is {asked.run!r}")
    following = current.round_number + 1
    if opening.round_number < following:
        return current
    if opening.round_number != following:
        raise SecaggReject(
            f"the sum of round {opening.round_number} was sent along, that of round {following} "
            "is missing"
        )
    base = _base(context, current, told.start)
    # The members vouch for a sum of updates to this very adapter, by the session that they sign.
    if context.learner.model_hash(base) != opening.model_hash:
        raise SecaggReject(
            f"the sum of round {following} sent along is of updates to another adapter"
        )
    if not current.held:
        held = Derived(round_number=current.round_number, vector=base, held=True)
        context.journal.derive(context.question(asked), held)
    derived = _after(context, current, base, found)
    context.journal.derive(context.question(asked), derived)
    return derived


def _base(context: RequestContext, current: Derived, start: bytes) -> Vector:
    """Return the vector that the members' updates were of."""
    form = context.charter.adapter.form
    if current.held or not start:
        return current.vector
    if len(start) != 4 * current.vector.size:
        raise SecaggReject(f"an adapter sent along has {len(start)} bytes")
    vector = np.frombuffer(start, dtype="<f4").astype(np.float32)
    if not follows(context.learner, vector, current.vector, form):
        raise SecaggReject(
            f"the adapter sent along for round {current.round_number} does not follow from the "
            "sums that were checked"
        )
    return vector


def _refusal(opening: Opening, needed: int, why: str) -> str:
    return (
        f"the adapter received for {opening.aggregate} of round {opening.round_number} is not "
        f"taken as the one after round {needed}: {why}. Nothing was computed or charged. Inform "
        "the other members if the coordinator cannot explain it"
    )
