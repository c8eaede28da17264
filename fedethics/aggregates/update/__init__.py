"""The sum of the sites' updates of the adapter, or of their gradients: one step of the training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

from fedethics.aggregates.aggregate import Aggregate, Moment, Number, SumPlan
from fedethics.aggregates.noise import Account, noise_shares
from fedethics.charter.cohorts import most_rounds
from fedethics.charter.model import Charter
from fedethics.privacy import wide_gaussian
from fedethics.privacy.events import Event, NonPrivate, SampledGaussian
from fedethics.privacy.gaussian_shares import NORM_STEPS, share_std
from fedethics.secagg import SumSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdatePlan(SumPlan):
    """DP-SGD over the run.

    Attributes:
        noise_multiplier: std over clipping norm of each step; None without DP.
        event: what one round costs, including a round that is done again.
        shares: sites whose noise together carries the guarantee: under distributed trust, the
            fewest honest ones in any sum that can be opened.
        most: the most rounds that any one site trains in: fewer than the run has where the charter
            draws cohorts. Each site holds the draw to it.
    """

    noise_multiplier: float | None
    event: Event
    shares: int
    most: int

    @property
    def gradient_share_std(self) -> float:
        """The parameter of one site's noise on its gradient sum, in grid steps (distributed)."""
        return share_std((self.noise_multiplier or 0.0) * NORM_STEPS, shares=self.shares)

    def charge(self, account: Account) -> tuple[Event, ...]:
        """Return one round's steps."""
        return (self.event,) if account is Account.TRAINING else ()

    def whole_run(self, account: Account) -> tuple[Event, ...]:
        """Return all steps that a site may take as one event."""
        if account is not Account.TRAINING:
            return ()
        event = self.event
        for _ in range(1, self.most):
            event = event.plus(self.event)
        return (event,)

    def mechanisms(self) -> Iterator[tuple[str, Event]]:
        """Yield a step."""
        yield "a training step", self.event


class Update(Aggregate[UpdatePlan]):
    """Its scale is the noise multiplier."""

    name = "update"
    moment = Moment.STEP
    reads_gradients = True
    accounts = (Account.TRAINING,)
    scaled = Account.TRAINING
    whole_roster = False
    plan_type = UpdatePlan

    def plan(self, charter: Charter, scale: float) -> UpdatePlan:
        """Return the plan of DP-SGD with this noise multiplier."""
        terms, training = charter.privacy.training, charter.training
        event: Event = NonPrivate('privacy.training.mechanism = "none"')
        if terms.mechanism != "none":
            event = SampledGaussian(scale, terms.sampling_rate, training.local_steps)
        return UpdatePlan(
            rounds=tuple(range(1, training.rounds + 1)),
            noise_multiplier=None if terms.mechanism == "none" else scale,
            event=event,
            shares=noise_shares(charter, Account.TRAINING, whole_roster=False),
            most=most_rounds(charter),
        )

    def spec(self, charter: Charter, plan: UpdatePlan, *, vector_length: int) -> SumSpec:
        """Return the specification: as long as the adapter."""
        return SumSpec(
            name=self.name,
            length=vector_length,
            word_bits=charter.secagg.word_bits,
            bound=_bound(charter, plan),
            whole_cohort=False,
        )

    def permissions(self, charter: Charter) -> tuple[str, ...]:
        """Every run has updates."""
        return (self.name,)

    def left(self, charter: Charter, plan: UpdatePlan, number: Number) -> tuple[str, str, str]:
        """Return the row of an update."""
        terms = charter.privacy.training
        multiplier = plan.noise_multiplier
        noise = "no noise" if multiplier is None else number(multiplier, 3)
        return (
            "weighted sum of the sites' updates",
            "trained",
            f"{terms.mechanism}: {charter.training.local_steps} steps, noise multiplier {noise}, "
            f"sampling rate {terms.sampling_rate:g}, clipping norm {terms.clipping_norm:g}",
        )


def sum_limit(charter: Charter) -> int:
    """Return, in grid steps, what a coordinate of a site's gradient sum is cut to (distributed)."""
    return math.ceil(charter.secagg.clip * NORM_STEPS / charter.privacy.training.clipping_norm)


def _bound(charter: Charter, plan: UpdatePlan) -> int:
    match charter.privacy.training.trust_mode:
        case "local":
            return math.ceil(charter.secagg.clip * charter.secagg.scale) + 1
        case "distributed":
            return sum_limit(charter) + wide_gaussian.reach(plan.gradient_share_std)
        case unknown:
            assert_never(unknown)


UPDATE = Update()
