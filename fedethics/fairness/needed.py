"""How many records would decide an open objective, if the rate really were so and so.

An interval that contains the bar also contains rates at which more records would soon decide, and
rates at which hardly any number would. The estimate alone is no forecast: it is the middle of what
may be true. So the answer is given at both limits and at the estimate.

Closed form, from the interval itself. Write h(n) for its half-width with n records of the same mix
under the same noise, and z for its critical value. An estimate is near the truth x with standard
deviation h / z, so the interval lies on x's side of the bar with probability
Phi(z (|bar - x| - h) / h). A difference of groups may come out with either sign, so of a difference
that holds, Phi(-z (bar + x - h) / h) is taken off. The least n for which this is 80 % is the
answer. h is taken at the rates now estimated, and the wider of its two sides counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from fedethics.fairness.estimate import two_sided
from fedethics.fairness.partition import Partition

Limits: TypeAlias = tuple[float, float, float]

POWER = 0.8
_FEWEST, _MOST = 0.01, 1000.0
_STEPS = 24


def records_that_decide(
    partition: Partition,
    *,
    evaluate: Callable[[Partition], Limits],
    bar: float,
    span: float,
    difference: bool,
    confidence: float,
) -> str:
    """Say how many records decide with 80 % if the rate is its lower limit, estimate, upper limit.

    Empty where the interval is wider than half of the metric's range: then nothing is known that a
    forecast could start from.

    Args:
        partition: the groups that the metric is about, as opened.
        evaluate: value and limits of the metric on a partition.
        bar: what the metric is held to.
        span: length of the metric's range.
        difference: whether the metric is the largest difference of groups.
        confidence: of the limits.
    """
    value, low, high = evaluate(partition)
    if not high - low <= span / 2.0:
        return ""
    people = float(partition.sizes.sum())
    whose = {low: "its lower limit", high: "its upper limit", value: "the estimate"}
    z = two_sided(confidence)

    def answer(x: float) -> str:
        def decides(factor: float) -> bool:
            value, low, high = evaluate(partition.scaled(records=factor))
            half = max(high - value, value - low)
            return _power(half / z, half, bar=bar, x=x, difference=difference) >= POWER

        if people <= 0 or not decides(_MOST):
            return f"even {_MOST:g} times these records do not decide it with {POWER:.0%}"
        records = two_digits(people * _least(decides, _FEWEST, _MOST))
        return f"about {records} held-out records of this mix decide with {POWER:.0%}"

    said = [f"{x:.3f} ({whose[x]}), {answer(x)}" for x in sorted(whose)]
    return f"If the rate really is {'; if it is '.join(said)}."


def _power(deviation: float, half: float, *, bar: float, x: float, difference: bool) -> float:
    """Return the probability that an interval around x of this half-width lies beside the bar."""
    if deviation == 0:
        return float(bar != x)
    decided = _phi((abs(bar - x) - half) / deviation)
    if difference and x < bar:
        decided -= _phi(-(bar + x - half) / deviation)
    return decided


def _phi(t: float) -> float:
    return 0.5 * (1.0 + math.erf(t / math.sqrt(2.0)))


def _least(decides: Callable[[float], bool], low: float, high: float) -> float:
    """Return the least factor in [low, high] that decides, by bisection on the log scale."""
    for _ in range(_STEPS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high


def two_digits(number: float) -> str:
    """Return a positive number rounded up to two digits, so that the figure suffices."""
    step = 10.0 ** (math.floor(math.log10(number)) - 1)
    return f"{math.ceil(number / step - 1e-9) * step:,.10g}"
