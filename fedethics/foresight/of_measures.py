"""Bars on bounded numbers of a record: loss, token accuracy, scores of answers, swapped words.

A record's number, as a share of its range, is drawn from a Beta law with the true mean and a fifth
of the greatest possible variance; a measure that is 0 or 1 has that greatest variance. Sums of many
such numbers are drawn by the normal law with the Beta law's own moments.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from fedethics.aggregates.measures import MEASURES, MeasuresPlan, layout_of_measures, terms_of
from fedethics.aggregates.noise import sites_of
from fedethics.charter.measure_terms import GRID, Combine, MeasureObjective
from fedethics.charter.model import Charter
from fedethics.errors import AccountingError
from fedethics.fairness import Estimate
from fedethics.fairness.bounded import ValueSums, compared, mean_of
from fedethics.fairness.explained import FloatArray
from fedethics.fairness.judge import Outcome
from fedethics.fairness.partition import MINIMUM_CELL, MINIMUM_SITES
from fedethics.foresight.asked import Asked, outcome_of
from fedethics.foresight.people import People
from fedethics.learning_tasks.task import Bounded

# Of the greatest possible variance, where a number is neither 0 nor 1.
SPREAD = 0.2
# Mean that groups without a gap have, as a share of the range; of what swapped words change, less.
_USUAL, _CHANGED = 0.5, 0.1
# Share of the records that hold one of the swapped words.
HOLDING = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class AskedOfMeasure(Asked):
    """A bar of `[measures]`.

    Attributes:
        charter: the terms.
        measure, combine: what is measured and how groups are put together.
        confidence: of the interval.
        noise, spread_noise: variance on each entry of the sums, in records.
    """

    charter: Charter
    measure: Bounded
    combine: Combine
    confidence: float
    noise: float
    spread_noise: float

    def judged(
        self, value: float, records: FloatArray, *, noise: float, rng: np.random.Generator
    ) -> tuple[Outcome, Outcome]:
        """Draw hits, misses and spreads of every group."""
        exact = drawn(self.measure, self.means(value), records, rng)
        entries = [
            part + rng.normal(0.0, noise * math.sqrt(variance), part.shape)
            for part, variance in (
                (exact.hits, self.noise), (exact.misses, self.noise),
                (exact.spread, 0.0 if self.measure.binary else self.spread_noise),
            )
        ]  # fmt: skip
        noised = replace(
            exact,
            hits=entries[0],
            misses=entries[1],
            spread=entries[2],
            noise=self.noise * noise**2,
            spread_noise=0.0 if self.measure.binary else self.spread_noise * noise**2,
        )
        return self._outcome(noised), self._outcome(exact)

    def means(self, value: float) -> FloatArray:
        """Return each group's mean as a share of the range; the smallest group is the other one."""
        width = self.measure.high - self.measure.low
        usual = _CHANGED if self.measure.apart else _USUAL
        alike = np.full(len(self.records), usual)
        other = int(np.argmin(self.records))
        match self.combine:
            case "difference":
                alike[other] += value / width if usual + value / width <= 1 else -value / width
                return alike.clip(0.0, 1.0)
            case "ratio":
                alike[other] *= value
                return alike
            case _:
                return np.full(len(self.records), (value - self.measure.low) / width)

    def noise_at(self, epsilon: float) -> float:
        """Return the factor on the noise of the charter's own plan."""
        terms = replace(terms_of(self.charter), epsilon=epsilon)
        own, other = plan_of(self.charter), plan_of(replace(self.charter, measures=terms))
        return other.values.std / own.values.std if own.values.std else 1.0

    def _outcome(self, sums: ValueSums) -> Outcome:
        if not self.combine:
            found = mean_of(sums.together(sites=MINIMUM_SITES), confidence=self.confidence)
        else:
            found = compared(
                sums, self.combine, confidence=self.confidence, minimum_cell=MINIMUM_CELL
            )
        return outcome_of(self._in_units(found), bar=self.bar, direction=self.direction)

    def _in_units(self, found: Estimate) -> Estimate:
        if self.combine == "ratio":
            return found
        width = self.measure.high - self.measure.low
        base = 0.0 if self.combine == "difference" else self.measure.low
        value, low, high = (base + width * end for end in (found.value, found.low, found.high))
        return replace(found, value=value, low=low, high=high)


def drawn(
    measure: Bounded, means: FloatArray, records: FloatArray, rng: np.random.Generator
) -> ValueSums:
    """Return the exact sums of one draw of records.

    Args:
        measure: what is summed.
        means: of each group, as a share of the range.
        records: of each group.
        rng: of the draw.
    """
    count = len(means)
    if measure.binary:
        hits = rng.binomial(records.astype(np.int64), means).astype(np.float64)
        spread = np.zeros(count)
    else:
        hits, spread = _sums(means, records, rng)
    return ValueSums(
        groups=tuple(map(str, range(count))),
        hits=hits,
        misses=records - hits,
        spread=spread,
        noise=0.0,
        spread_noise=0.0,
        step=0.0 if measure.binary else 1 / GRID,
        contributors=np.full(count, MINIMUM_SITES),
    )


def _sums(
    means: FloatArray, records: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Return sums of a and of a (1 - a), for a of a Beta law, with their own joint variance."""
    inside = means.clip(1e-9, 1.0 - 1e-9)
    size = 1.0 / SPREAD - 1.0
    a, b = inside * size, (1.0 - inside) * size
    product = inside * (1.0 - inside)
    spread = product * (1.0 - SPREAD)
    below = size * (size + 1.0) * (size + 2.0)
    both = a * (a + 1.0) * b / below - inside * spread
    squared = a * (a + 1.0) * b * (b + 1.0) / (below * (size + 3.0)) - spread**2
    first, second = rng.standard_normal((2, len(means)))
    deviation = np.sqrt(SPREAD * product)
    slope = both / deviation
    rest = np.sqrt(np.maximum(squared - slope**2, 0.0))
    root = np.sqrt(records)
    hits = records * inside + root * deviation * first
    return hits.clip(0.0, records), np.maximum(
        records * spread + root * (slope * first + rest * second), 0.0
    )


def asked_of_measures(charter: Charter, people: People) -> Iterator[AskedOfMeasure]:
    """Yield each bar of `[measures]`; none where the charter has none."""
    if charter.measures is None:
        return
    terms, plan = charter.measures, plan_of(charter)
    measures = layout_of_measures(charter).measures
    generated = terms.generation.bounded()
    for stated in terms.objectives:
        name, combine = stated.parts()
        measure = measures[name]
        most = terms.generation.records * sites_of(charter) if name in generated else None
        times = HOLDING if measure.apart else 1.0
        low, high = _range(measure, combine)
        alike = combine in ("difference", "ratio")
        yield AskedOfMeasure(
            title=title(stated),
            bar=stated.bar,
            direction=stated.direction,
            best=low if stated.direction == "at-most" else high,
            low=low,
            high=high,
            aim="best" if alike else "half-way",
            records=people.of(terms.feature, at_most=most) * times,
            epsilon=terms.epsilon,
            spends="measures.epsilon",
            alike=alike,
            share=times,
            charter=charter,
            measure=measure,
            combine=combine,
            confidence=stated.confidence,
            noise=plan.values.sum_variance / GRID**2,
            spread_noise=plan.spread.sum_variance / (4 * GRID) ** 2,
        )


def title(stated: MeasureObjective) -> str:
    """Return the short label."""
    return f"{stated.metric} (measured of texts)"


def supposed_of_measures(charter: Charter) -> Iterator[str]:
    """Yield what was supposed of the numbers."""
    if charter.measures is None or not charter.measures.objectives:
        return
    yield (
        f"measured numbers with {SPREAD:.0%} of the greatest possible variance, of groups without "
        f"a gap with a mean in the middle of their range (of swapped words at {_CHANGED:.0%} of it)"
    )
    if charter.measures.counterfactuals:
        yield f"swapped words in {HOLDING:.0%} of the records"


def plan_of(charter: Charter) -> MeasuresPlan:
    """Return the noise of a charter's measures.

    Raises:
        AccountingError: it asks for none, or no noise keeps them within their epsilon.
    """
    plan = MEASURES.plan(charter, 1.0)
    if plan is None:
        raise AccountingError("the charter asks for no measures; nothing was computed")
    return plan


def _range(measure: Bounded, combine: Combine) -> tuple[float, float]:
    if combine == "difference":
        return 0.0, measure.high - measure.low
    if combine == "ratio":
        return 0.0, 1.0
    return measure.low, measure.high
