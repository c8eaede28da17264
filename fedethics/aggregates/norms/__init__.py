"""How long training units' gradients are beside the clipping norm: a histogram with noise.

A clipping norm above nearly all gradients only adds noise, and one below nearly all cuts each of
them. The histogram says which; it is advice, and changes nothing that is trained. In the spirit of
the count of adaptive clipping (Andrew et al. 2021, arXiv 1905.03871).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from fedethics.aggregates.aggregate import (
    Aggregate,
    Ask,
    Moment,
    Number,
    TablePlan,
    count_spec,
)
from fedethics.aggregates.noise import Account, Noise, count_noise
from fedethics.charter.model import Charter
from fedethics.privacy.calibration import smallest_scale
from fedethics.secagg import SumSpec

# In clipping norms. A unit is in the bin at whose lower edge, or above, its gradient's norm lies.
EDGES: Final = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
BINS: Final = len(EDGES) + 1


class NormPlan(TablePlan):
    """The histogram, in which a unit counts once."""

    __slots__ = ()

    def noises(self) -> Iterator[tuple[str, Noise]]:
        """Yield that on a bin."""
        yield "each bin", self.noise


class Norms(Aggregate[NormPlan]):
    """Opened before a round's updates, of the adapter that those start from."""

    name = "norms"
    moment = Moment.BEFORE_STEP
    reads_gradients = True
    accounts = (Account.TRAINING,)
    opt_in = "count training units by how long their gradients are beside the clipping norm"
    spent_on = "the count of gradient norms"
    seen = "the opened histogram of gradient norms, with noise"
    plan_type = NormPlan

    def plan(self, charter: Charter, scale: float) -> NormPlan | None:
        """Return the plan; None where the charter does not ask for the count."""
        terms = charter.norms
        if terms is None:
            return None

        def noise(std: float) -> Noise:
            return count_noise(charter, Account.TRAINING, std=std, sensitivity=1)

        found = noise(1.0)
        if found.std:
            found = noise(
                smallest_scale(
                    lambda std: (noise(std).event,),
                    epsilon=terms.epsilon,
                    delta=charter.privacy.delta,
                )
            )
        return NormPlan(
            rounds=(terms.round,),
            noise=found,
            accounts=self.accounts,
            table="a histogram of gradient norms",
        )

    def spec(self, charter: Charter, plan: NormPlan, *, vector_length: int) -> SumSpec:
        """Return the specification: one entry for each bin."""
        return count_spec(self.name, BINS)

    def permissions(self, charter: Charter) -> tuple[str, ...]:
        """Return the name, where the count is asked for."""
        return () if charter.norms is None else (self.name,)

    def asks(self, charter: Charter) -> Iterator[Ask]:
        """Yield the count and its epsilon."""
        terms = charter.norms
        if terms is None:
            return
        releases = 'only with "norms" among allow.releases'
        yield "count of gradient norms", f"once, before round {terms.round}", releases
        spent = f"{terms.epsilon:g}, as a part of the epsilon of training"
        yield "epsilon of the gradient norms", spent, "the caps on the epsilon of training"

    def foretold(self, charter: Charter, plan: NormPlan) -> Iterator[tuple[str, str]]:
        """Yield how precisely the share of clipped units will be known."""
        units = sum(member.declared_records for member in charter.roster)
        if not units:
            yield "share of units that are clipped", "known once the roster says how many there are"
            return
        reach = 1.96 * plan.noise.sum_std * (BINS / 2) ** 0.5 / units
        yield (
            "share of units that are clipped",
            f"give or take {min(reach, 1.0):.2f} for the noise, of about {units} units",
        )

    def left(self, charter: Charter, plan: NormPlan, number: Number) -> tuple[str, str, str]:
        """Return the row of the histogram."""
        std = number(plan.noise.sum_std, 2)
        return (
            f"histogram of gradient norms, {BINS} bins around the clipping norm",
            "trained",
            f"{charter.privacy.evaluation.mechanism}: std {std} on each bin of the sum",
        )


NORMS = Norms()
