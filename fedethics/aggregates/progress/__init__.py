"""Four counts of held-out records, label by prediction and without groups, after a round."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fedethics.aggregates.aggregate import (
    Aggregate,
    Number,
    TablePlan,
    count_spec,
    opened_sums,
    sum_sha256,
)
from fedethics.aggregates.noise import Account, count_noise
from fedethics.charter.model import Charter
from fedethics.charter_sums import layout_of
from fedethics.secagg import SumSpec

if TYPE_CHECKING:
    from fedethics.release.evidence import Evidence


class Progress(Aggregate[TablePlan]):
    """None in the last round, which has the fairness release instead.

    A run that lacks a site goes on without it and shows the gap, which a resumed run fills.
    """

    name = "progress"
    scaled = Account.EVALUATION
    skippable = True
    plan_type = TablePlan

    def plan(self, charter: Charter, scale: float) -> TablePlan:
        """Return the plan: of no rounds where the charter asks for none."""
        terms, last = charter.privacy.evaluation, charter.training.rounds
        every = terms.progress_every
        noise = count_noise(
            charter,
            Account.EVALUATION,
            std=terms.progress_ratio * scale,
            sensitivity=charter.data.max_rows_per_person,
        )
        return TablePlan(
            rounds=tuple(range(every, last, every)) if every else (),
            noise=noise,
            accounts=self.accounts,
            table="a progress table",
        )

    def spec(self, charter: Charter, plan: TablePlan, *, vector_length: int) -> SumSpec:
        """Return the specification."""
        return count_spec(self.name, layout_of(charter).progress_length)

    def permissions(self, charter: Charter) -> tuple[str, ...]:
        """Return the name, where any is due."""
        every = charter.privacy.evaluation.progress_every
        return (self.name,) if every and every < charter.training.rounds else ()

    def left(self, charter: Charter, plan: TablePlan, number: Number) -> tuple[str, str, str]:
        """Return the row of a table."""
        std = number(plan.noise.sum_std, 2)
        return (
            "four counts: label by prediction, no groups",
            "held out",
            f"{charter.privacy.evaluation.mechanism}: std {std} on each count of the sum",
        )

    def faults(self, evidence: Evidence) -> Iterable[str]:
        """Hold the counts to the sums that were opened."""
        opened = opened_sums(evidence, self.name)
        for entry in evidence.progress:
            if opened.get(entry.round) != sum_sha256(entry.counts):
                yield f"The progress counts of round {entry.round} are not the sum that was opened."


PROGRESS = Progress()
