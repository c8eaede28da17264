"""What is foreseen of one bar: its chances at declared truths, and what would let it hold.

Truths of a bar B with best value b: b, half-way to the bar, the bar, and twice as far from b as the
bar. Draws use a fixed public seed, so that the same terms give the same answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from fedethics.fairness.judge import Direction, Outcome
from fedethics.fairness.needed import POWER

Truth: TypeAlias = Literal["best", "half-way", "bar", "twice"]
TRUTHS: Mapping[Truth, float] = {"best": 0.0, "half-way": 0.5, "bar": 1.0, "twice": 2.0}
SEED = 16
_MOST_TIMES = 1024
_FINE_STEPS = 3
_EPSILONS = (1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Effort:
    """How much is drawn.

    Attributes:
        draws: of each truth.
        first: where so many are all alike, the rest is not drawn.
        searched: draws of each step of a search.
        short: only the truth that is aimed at, without a search for an epsilon.
    """

    draws: int = 200
    first: int = 50
    searched: int = 100
    short: bool = False


WHOLE = Effort()
SHORT = Effort(draws=60, first=30, searched=60, short=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Chance:
    """Shares of the draws that held, failed and could not conclude."""

    holds: float
    fails: float
    draws: int

    @property
    def cannot(self) -> float:
        """Of those that could not conclude."""
        return 1.0 - self.holds - self.fails


@dataclass(frozen=True, kw_only=True, slots=True)
class AtTruth:
    """What happens if the metric truly is `value`."""

    truth: Truth
    value: float
    noised: Chance
    exact: Chance


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """One bar before the run.

    Attributes:
        title: as the gate calls it.
        bar, direction: what is asked.
        aim: the truth at which `records` and `epsilon` are asked for.
        levels: in the order of `TRUTHS`, or the one aimed at; empty where the planner has no model
            for the metric.
        records: that let it hold with 80 % at `aim`; None for none.
        epsilon: that lets it, with the declared records; infinite where not even sums without
            noise would; None where only next to no noise would, or in short.
        spends: the epsilon that is meant, in words.
        alike: whether `aim` is that groups do not differ.
        refused: why nothing is foreseen; else empty.
    """

    title: str
    bar: float
    direction: Direction
    aim: Truth
    levels: tuple[AtTruth, ...] = ()
    records: int | None = None
    epsilon: float | None = None
    spends: str = "evaluation epsilon"
    alike: bool = False
    refused: str = ""

    def at(self, truth: Truth) -> AtTruth:
        """Return one of the levels."""
        return next(level for level in self.levels if level.truth == truth)

    @property
    def can_hold(self) -> bool:
        """Whether it holds with 80 % where the model is as good as `aim`."""
        return bool(self.levels) and self.at(self.aim).noised.holds >= POWER

    @property
    def hopeless(self) -> bool:
        """Whether it does not even without noise."""
        return bool(self.levels) and self.at(self.aim).exact.holds < POWER


def counted(told: Sequence[Outcome]) -> Chance:
    """Return the shares of outcomes."""
    count = len(told)
    return Chance(holds=told.count("holds") / count, fails=told.count("fails") / count, draws=count)


def chances(drawn: Iterator[tuple[Outcome, Outcome]], effort: Effort) -> tuple[Chance, Chance]:
    """Return the chances with noise and without, from pairs of the same records' outcomes."""
    told: tuple[list[Outcome], list[Outcome]] = ([], [])
    for number, pair in zip(range(effort.draws), drawn, strict=False):
        if number == effort.first and all(len(set(side)) == 1 for side in told):
            break
        for side, outcome in zip(told, pair, strict=True):
            side.append(outcome)
    return counted(told[0]), counted(told[1])


def wanted(best: float, bar: float, low: float, high: float) -> Iterator[tuple[Truth, float]]:
    """Yield the truths within a range."""
    for truth, factor in TRUTHS.items():
        yield truth, min(max(best + factor * (bar - best), low), high)


def least_records(holds: Callable[[float], float]) -> float | None:
    """Return about the least multiple of the records with which a bar holds with 80 %.

    Args:
        holds: of a multiple of the declared records, the chance.
    """
    low, high = 1.0, 2.0
    while holds(high) < POWER:
        low, high = high, 2.0 * high
        if high > _MOST_TIMES:
            return None
    for _ in range(_FINE_STEPS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if holds(middle) >= POWER else (middle, high)
    return high


def least_epsilon(holds: Callable[[float], float]) -> float | None:
    """Return about the least multiple of the epsilon with which a bar holds with 80 %, of some."""
    low, high = 0, len(_EPSILONS)
    while low < high:
        middle = (low + high) // 2
        if holds(_EPSILONS[middle]) >= POWER:
            high = middle
        else:
            low = middle + 1
    return _EPSILONS[low] if low < len(_EPSILONS) else None
