"""The sums of a run: when each is due, and what each is to secure aggregation.

Coordinator and sites compute this from the charter by themselves; each OPEN message binds the
specification of its sum by hash, so a coordinator that would widen a bound or open another vector
is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from fedethics.aggregates.aggregate import Aggregate, SumPlan
from fedethics.aggregates.registry import AGGREGATES, in_a_round
from fedethics.charter.model import Charter
from fedethics.privacy.plan import PrivacyPlan, make_plan
from fedethics.secagg import SumSpec

Sum = tuple[str, int]


def sum_specs(charter: Charter, *, vector_length: int) -> dict[str, SumSpec]:
    """Return the specifications of the sums of `charter`, by name.

    Args:
        charter: the agreed terms.
        vector_length: number of trainable parameters that the adapter has.
    """
    sums = make_plan(charter).sums
    found = {
        name: _spec(AGGREGATES[name], charter, plan, vector_length) for name, plan in sums.items()
    }
    return {name: spec for name, spec in found.items() if spec is not None}


def _spec(
    kind: Aggregate[Any], charter: Charter, plan: SumPlan, vector_length: int
) -> SumSpec | None:
    """Return a kind's specification, with the charter's quorum where it goes by one."""
    spec = kind.spec(charter, plan, vector_length=vector_length)
    quorum = charter.secagg.quorum
    if spec is None or quorum is None or not (kind.whole_roster and kind.once):
        return spec
    return replace(spec, whole_cohort=False, at_least=quorum)


def sums_of(charter: Charter, plan: PrivacyPlan) -> Iterator[Sum]:
    """Yield name and round of every sum that a run of `charter` opens, in the order it does."""
    for number in range(1, charter.training.rounds + 1):
        for each in in_a_round():
            if each.name in plan.sums and number in plan.sums[each.name].rounds:
                yield each.name, number
