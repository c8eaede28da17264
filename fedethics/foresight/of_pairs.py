"""Bars on the change of accuracy beside the model before training.

One answer in ten is supposed to change, or as many as the change itself needs. Groups change alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from fedethics.aggregates.aggregate import TablePlan
from fedethics.aggregates.paired import CHANGED, PAIRED, terms_of
from fedethics.charter.model import Charter
from fedethics.charter.paired_terms import PairedObjective
from fedethics.errors import AccountingError
from fedethics.fairness.explained import FloatArray
from fedethics.fairness.judge import Outcome
from fedethics.fairness.paired import HIGHEST, LOWEST, PairedSums, change_of, lowest_change
from fedethics.fairness.partition import MINIMUM_CELL, MINIMUM_SITES
from fedethics.foresight.asked import Asked, outcome_of
from fedethics.foresight.people import People

_RIGHT = 0.7
# A bar at no change or above is met by a model that is better by so much more.
_BETTER = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class AskedOfPairs(Asked):
    """A bar of `[paired]`.

    Attributes:
        charter: the terms.
        stated: the bar.
        noise: variance on each entry.
    """

    charter: Charter
    stated: PairedObjective
    noise: float

    def judged(
        self, value: float, records: FloatArray, *, noise: float, rng: np.random.Generator
    ) -> tuple[Outcome, Outcome]:
        """Draw the four entries of every group."""
        changed = max(CHANGED, abs(value))
        gained, lost = (changed + value) / 2, (changed - value) / 2
        right = (1.0 - changed) * _RIGHT
        shares = [right, gained, lost, max(0.0, 1.0 - right - gained - lost)]
        table = rng.multinomial(records.astype(np.int64), shares).astype(np.float64)
        exact = PairedSums(
            groups=tuple(map(str, range(len(records)))),
            table=table,
            noise=0.0,
            contributors=np.full(len(records), MINIMUM_SITES),
        )
        noisy = table + np.rint(rng.normal(0.0, noise * math.sqrt(self.noise), table.shape))
        noised = replace(exact, table=noisy, noise=self.noise * noise**2)
        return self._outcome(noised), self._outcome(exact)

    def noise_at(self, epsilon: float) -> float:
        """Return the factor on the noise of the charter's own plan."""
        terms = replace(terms_of(self.charter), epsilon=epsilon)
        own, other = plan_of(self.charter), plan_of(replace(self.charter, paired=terms))
        return other.noise.std / own.noise.std if own.noise.std else 1.0

    def _outcome(self, sums: PairedSums) -> Outcome:
        confidence = self.stated.confidence
        if self.stated.of_groups:
            found = lowest_change(sums, confidence=confidence, minimum_cell=MINIMUM_CELL)
        else:
            found = change_of(sums.together(sites=MINIMUM_SITES), confidence=confidence)
        return outcome_of(found, bar=self.bar, direction=self.direction)


def asked_of_pairs(charter: Charter, people: People) -> Iterator[AskedOfPairs]:
    """Yield each bar of `[paired]`; none where the charter has none."""
    if charter.paired is None:
        return
    terms, plan = charter.paired, plan_of(charter)
    for stated in terms.objectives:
        yield AskedOfPairs(
            title=f"{stated.metric} (beside the model before training)",
            bar=stated.bar,
            direction=stated.direction,
            best=0.0 if stated.bar < 0 else stated.bar + _BETTER,
            low=LOWEST,
            high=HIGHEST,
            aim="best",
            records=people.of(terms.feature),
            epsilon=terms.epsilon,
            spends="paired.epsilon",
            charter=charter,
            stated=stated,
            noise=plan.noise.sum_variance,
        )


def supposed_of_pairs(charter: Charter) -> Iterator[str]:
    """Yield what was supposed of the pairs."""
    if charter.paired is not None and charter.paired.objectives:
        yield f"{CHANGED:.0%} of answers that change in training, in every group alike"


def plan_of(charter: Charter) -> TablePlan:
    """Return the noise of the comparison.

    Raises:
        AccountingError: the charter asks for none, or no noise keeps it within its epsilon.
    """
    plan = PAIRED.plan(charter, 1.0)
    if plan is None:
        raise AccountingError("the charter compares with no model; nothing was computed")
    return plan
