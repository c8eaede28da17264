"""Counts of training records by group, label and prediction, before a round: they steer it.

They are trusted as the training is, and paid from its account with an epsilon of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from fedethics.aggregates.aggregate import (
    UNLIMITED,
    Aggregate,
    Ask,
    Moment,
    Number,
    TablePlan,
    count_spec,
    opened_sums,
    sum_sha256,
)
from fedethics.aggregates.noise import Account, Noise, count_noise
from fedethics.charter.model import Charter
from fedethics.charter_sums import steering_groups
from fedethics.privacy.calibration import smallest_scale
from fedethics.privacy.events import NonPrivate
from fedethics.secagg import SumSpec

if TYPE_CHECKING:
    from fedethics.release.evidence import Evidence


class Steering(Aggregate[TablePlan]):
    """Opened before the round's updates, of the adapter that those start from."""

    name = "steering"
    moment = Moment.BEFORE_STEP
    accounts = (Account.TRAINING,)
    opt_in = "count training records by group, label and prediction, to close gaps between groups"
    spent_on = "the counts that steer training"
    plan_type = TablePlan

    def plan(self, charter: Charter, scale: float) -> TablePlan:
        """Return the plan: of no rounds where the charter steers nothing."""
        rounds = charter.mitigation.rounds(charter.training.rounds)
        rows = charter.data.max_rows_per_person

        def table(std: float, releases: int) -> Noise:
            return count_noise(
                charter, Account.TRAINING, std=std, releases=releases, sensitivity=rows
            )

        std, privacy = 0.0, charter.privacy
        if rounds and "none" not in (privacy.training.mechanism, privacy.evaluation.mechanism):
            std = smallest_scale(
                lambda scale: (table(scale, len(rounds)).event,),
                epsilon=charter.mitigation.epsilon,
                delta=privacy.delta,
            )
        noise = table(std, 1) if std else _none(table(1.0, 1))
        return TablePlan(
            rounds=rounds,
            noise=noise,
            accounts=self.accounts,
            table="a count of training records",
        )

    def spec(self, charter: Charter, plan: TablePlan, *, vector_length: int) -> SumSpec | None:
        """Return the specification, where the charter steers."""
        if charter.mitigation.method == "none":
            return None
        return count_spec(self.name, 4 * steering_groups(charter))

    def permissions(self, charter: Charter) -> tuple[str, ...]:
        """Return the name, where any is due."""
        return (self.name,) if charter.mitigation.rounds(charter.training.rounds) else ()

    def asks(self, charter: Charter) -> Iterator[Ask]:
        """Yield the method and the epsilon of the counts."""
        terms = charter.mitigation
        if terms.method == "none":
            yield "training steered between groups", "none", UNLIMITED
            return
        releases = 'only with "steering" among allow.releases'
        yield "training steered between groups", f"{terms.method} by {terms.feature}", releases
        spent = f"{terms.epsilon:g}, as a part of the epsilon of training"
        yield "epsilon of the counts that steer", spent, "the caps on the epsilon of training"

    def left(self, charter: Charter, plan: TablePlan, number: Number) -> tuple[str, str, str]:
        """Return the row of a table."""
        std = number(plan.noise.sum_std, 2)
        return (
            f"counts by {charter.mitigation.feature}, label and prediction, before the round",
            "trained",
            f"{charter.privacy.evaluation.mechanism}: std {std} on each count of the sum",
        )

    def faults(self, evidence: Evidence) -> Iterable[str]:
        """Hold the counts to the sums that were opened."""
        opened = opened_sums(evidence, self.name)
        for entry in evidence.steering:
            if opened.get(entry.round) != sum_sha256(entry.counts):
                yield (
                    f"The counts that steered round {entry.round} are not the sum that was opened."
                )


def _none(noise: Noise) -> Noise:
    """Return no noise, of no round or of a run without differential privacy."""
    event = NonPrivate('privacy.training.mechanism = "none"')
    return Noise(std=0.0, shares=noise.shares, sites=noise.sites, event=event)


STEERING = Steering()
