"""Two histograms by which the finished adapter is attacked: trained units, and held-out ones.

Trained units are protected as the training protects them, held-out ones as the evaluation does, so
the two halves may need the noise of other numbers of sites. It is charged to both accounts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fedethics.aggregates.aggregate import (
    UNLIMITED,
    Aggregate,
    Ask,
    Number,
    SumPlan,
    count_spec,
)
from fedethics.aggregates.noise import Account, Noise, count_noise
from fedethics.charter.model import Charter
from fedethics.privacy.calibration import smallest_scale
from fedethics.privacy.events import Event
from fedethics.secagg import SumSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditPlan(SumPlan):
    """Both halves: each of `bins` entries, in which a unit counts once."""

    bins: int
    members: Noise
    non_members: Noise

    def charge(self, account: Account) -> tuple[Event, ...]:
        """Return a trained unit's half, or a held-out one's."""
        half = self.members if account is Account.TRAINING else self.non_members
        return (half.event,)

    def mechanisms(self) -> Iterator[tuple[str, Event]]:
        """Yield both halves."""
        yield "a histogram of trained units", self.members.event
        yield "a histogram of held-out units", self.non_members.event

    def noises(self) -> Iterator[tuple[str, Noise]]:
        """Yield that of both halves."""
        yield "trained", self.members
        yield "held-out", self.non_members


class Audit(Aggregate[AuditPlan]):
    """Charged to both accounts: trained units first, then held-out ones."""

    name = "audit"
    once = True
    accounts = (Account.TRAINING, Account.EVALUATION)
    spent_on = "the audit's histogram"
    plan_type = AuditPlan

    def plan(self, charter: Charter, scale: float) -> AuditPlan | None:
        """Return the plan; None where no audit is asked for."""
        terms = charter.privacy.audit
        if not terms.asked:
            return None
        return AuditPlan(
            rounds=(charter.training.rounds,),
            bins=terms.bins,
            members=_half(charter, Account.TRAINING),
            non_members=_half(charter, Account.EVALUATION),
        )

    def spec(self, charter: Charter, plan: AuditPlan, *, vector_length: int) -> SumSpec:
        """Return the specification."""
        return count_spec(self.name, 2 * plan.bins)

    def permissions(self, charter: Charter) -> tuple[str, ...]:
        """Return the name, where an audit is asked for."""
        return (self.name,) if charter.privacy.audit.asked else ()

    def asks(self, charter: Charter) -> Iterator[Ask]:
        """Yield the attack and the epsilon of its counts."""
        terms = charter.privacy.audit
        if not terms.asked:
            yield "attack on the finished adapter", "none", UNLIMITED
            return
        releases = 'only with "audit" among allow.releases'
        yield "attack on the finished adapter", f"by the {terms.attack}, from counts", releases
        spent = f"{terms.epsilon:g}, as a part of both epsilons"
        yield "epsilon of the attack's counts", spent, "the caps on both epsilons"

    def left(self, charter: Charter, plan: AuditPlan, number: Number) -> tuple[str, str, str]:
        """Return the row of both histograms."""
        stds = [number(half.sum_std, 2) for half in (plan.members, plan.non_members)]
        return (
            "histograms of the adapter's certainty, trained and held-out apart",
            "trained; held out",
            f"{charter.privacy.evaluation.mechanism}: std {stds[0]} and {stds[1]} on each bin of "
            "the sum",
        )


def _half(charter: Charter, account: Account) -> Noise:
    silent = count_noise(charter, account, std=1.0, sensitivity=1)
    if not silent.std:
        return silent
    std = smallest_scale(
        lambda scale: (count_noise(charter, account, std=scale, sensitivity=1).event,),
        epsilon=charter.privacy.audit.epsilon,
        delta=charter.privacy.delta,
    )
    return count_noise(charter, account, std=std, sensitivity=1)


AUDIT = Audit()
