"""Is an opening one that the charter foresees? Its run, its aggregate, its round and its cohort.

Secure aggregation has checked the signature and the cohort rules; this holds the opening to what
the sites agreed to compute, so that no coordinator gets one round or one table more than planned.
"""

from __future__ import annotations

from fedethics.aggregates.registry import aggregate
from fedethics.charter.cohorts import drawn
from fedethics.charter.model import Charter
from fedethics.errors import SecaggReject
from fedethics.privacy.plan import PrivacyPlan
from fedethics.protocol import Request
from fedethics.secagg import Opening


def check_agreed(
    opening: Opening, request: Request, *, charter: Charter, plan: PrivacyPlan
) -> None:
    """Refuse an opening that the charter does not foresee.

    Raises:
        SecaggReject: another run than the request says, or a sum that the action does not belong
            to. Also a round in which the charter does not have this sum, training with a site that
            is not drawn for the round, or a count sum over fewer sites than the whole roster.
            Nothing was computed.
    """
    if opening.run != request.run:
        raise SecaggReject(
            f"the opening is of run {opening.run!r}, the request says {request.run!r}; budget is "
            "charged by run, so nothing was computed"
        )
    kind = aggregate(opening.aggregate)
    if request.action is not kind.action:
        raise SecaggReject(
            f"sum {opening.aggregate!r} does not belong to {request.action}; nothing was computed"
        )
    due = plan.sums.get(kind.name)
    if due is None or opening.round_number not in due.rounds:
        raise SecaggReject(
            f"the charter has no {opening.aggregate} in round {opening.round_number}; nothing was "
            "computed"
        )
    undrawn = sorted(set(opening.cohort) - set(drawn(charter, opening.round_number)))
    if kind.trains and undrawn:
        # A site is charged for no more rounds than its noise is planned for.
        raise SecaggReject(
            f"sum {opening.aggregate!r} of round {opening.round_number} was opened with "
            f"{', '.join(undrawn)}; the charter's draw has others train in that round. Nothing was "
            "computed"
        )
    missing = sorted(set(charter.site_names) - set(opening.cohort))
    if len(set(opening.cohort)) < kind.fewest(charter):
        # Noise shares are planned for the whole roster, and records behind counts do not change:
        # two sums that differ by one site would show that site's table.
        raise SecaggReject(
            f"sum {opening.aggregate!r} was opened without {', '.join(missing)}; counts are summed "
            "over the whole roster, or the charter's quorum, or not at all. Nothing was computed"
        )
