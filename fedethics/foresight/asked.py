"""A bar on a sum of its own, drawn at a declared truth and judged by the gate's estimator."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from fedethics.errors import AccountingError
from fedethics.fairness import Estimate
from fedethics.fairness.explained import FloatArray
from fedethics.fairness.judge import Direction, Outcome
from fedethics.foresight.chances import (
    SEED,
    AtTruth,
    Effort,
    Outlook,
    Truth,
    chances,
    counted,
    least_epsilon,
    least_records,
    wanted,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked(ABC):
    """One bar of the charter on a sum that is not the group tables.

    Attributes:
        title: as the gate calls it.
        bar, direction: what is asked.
        best: the value of the best model that is supposed.
        low, high: range of the metric.
        aim: the truth at which records and epsilon are asked for.
        records: that are counted, by group, shape (groups,).
        epsilon: of the sum, by the charter.
        spends: its name.
        alike: whether `best` is that groups do not differ.
        share: counted records for each one that is held out.
    """

    title: str
    bar: float
    direction: Direction
    best: float
    low: float
    high: float
    aim: Truth
    records: FloatArray
    epsilon: float
    spends: str
    alike: bool = False
    share: float = 1.0

    @abstractmethod
    def judged(
        self, value: float, records: FloatArray, *, noise: float, rng: np.random.Generator
    ) -> tuple[Outcome, Outcome]:
        """Draw one run's sum and return its outcome with noise, and without.

        Args:
            value: the true value of the metric.
            records: of each group, whole numbers.
            noise: factor on the standard deviation of the charter's noise.
            rng: of all draws.
        """

    @abstractmethod
    def noise_at(self, epsilon: float) -> float:
        """Return the noise of another epsilon, as a factor on the standard deviation.

        Raises:
            AccountingError: no noise keeps the sum within it.
        """


def outcome_of(estimate: Estimate, *, bar: float, direction: Direction) -> Outcome:
    """Return what the gate says of an interval."""
    if math.isnan(estimate.value):
        return "cannot conclude"
    at_most = direction == "at-most"
    if (estimate.high <= bar) if at_most else (estimate.low >= bar):
        return "holds"
    if (estimate.low > bar) if at_most else (estimate.high < bar):
        return "fails"
    return "cannot conclude"


def outlook_of(asked: Asked, effort: Effort, *, number: int) -> Outlook:
    """Foresee one bar.

    Args:
        asked: the bar.
        effort: how much is drawn.
        number: its place, from which its draws follow.
    """
    truths = dict(wanted(asked.best, asked.bar, asked.low, asked.high))
    if effort.short:
        truths = {asked.aim: truths[asked.aim]}
    levels = []
    for place, (truth, value) in enumerate(truths.items()):
        noised, exact = chances(_drawn(asked, value, (number, place)), effort)
        levels.append(AtTruth(truth=truth, value=value, noised=noised, exact=exact))
    found = Outlook(
        title=asked.title,
        bar=asked.bar,
        direction=asked.direction,
        aim=asked.aim,
        levels=tuple(levels),
        spends=asked.spends,
        alike=asked.alike,
    )
    people = float(asked.records.sum()) / asked.share
    if found.can_hold:
        return replace(found, records=round(people), epsilon=asked.epsilon)
    least: float | None = math.inf if found.hopeless else None
    if not (found.hopeless or effort.short):
        times = least_epsilon(partial(_holds_at, asked, truths[asked.aim], effort, number))
        least = None if times is None else times * asked.epsilon
    more = least_records(partial(_holds_with, asked, truths[asked.aim], effort, number))
    return replace(found, records=None if more is None else round(people * more), epsilon=least)


def _drawn(
    asked: Asked, value: float, seed: tuple[int, ...], *, times: float = 1.0, noise: float = 1.0
) -> Iterator[tuple[Outcome, Outcome]]:
    rng = np.random.default_rng((SEED, 1, *seed))
    people = np.rint(asked.records * times)
    while True:
        yield asked.judged(value, people, noise=noise, rng=rng)


def _holds(pairs: Iterator[tuple[Outcome, Outcome]], effort: Effort) -> float:
    told = [noised for _, (noised, _) in zip(range(effort.searched), pairs, strict=False)]
    return counted(told).holds


def _holds_with(asked: Asked, value: float, effort: Effort, number: int, times: float) -> float:
    return _holds(_drawn(asked, value, (number, round(1000 * times)), times=times), effort)


def _holds_at(asked: Asked, value: float, effort: Effort, number: int, times: float) -> float:
    try:
        noise = asked.noise_at(asked.epsilon * times)
    except AccountingError:
        return 0.0
    return _holds(_drawn(asked, value, (number, round(1000 * times)), noise=noise), effort)
