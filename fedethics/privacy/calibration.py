"""How much noise a budget needs: the smallest that keeps the whole run within epsilon.

Answers are rounded up to four significant digits, so that every site computes the same number
from the same charter, whatever the last bit of its arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from fedethics.errors import AccountingError
from fedethics.privacy.accounting import epsilon as epsilon_of
from fedethics.privacy.events import Event, SampledGaussian

SMALLEST = 1e-2
LARGEST = 1e4


def noise_multiplier(*, epsilon: float, delta: float, sampling_rate: float, steps: int) -> float:
    """Return the smallest noise multiplier for `steps` Poisson-sampled Gaussian steps.

    Guarantee: all steps together cost at most `epsilon` at `delta`.

    Args:
        epsilon: budget of the whole run.
        delta: the delta it is stated at.
        sampling_rate: probability that a unit joins a step.
        steps: steps over all rounds of the run, not of one round.

    Raises:
        AccountingError: no noise multiplier between 0.01 and 10,000 fits.
    """
    return smallest_scale(
        lambda sigma: (SampledGaussian(sigma, sampling_rate, steps),),
        epsilon=epsilon,
        delta=delta,
    )


def smallest_scale(
    events_at: Callable[[float], Sequence[Event]],
    *,
    epsilon: float,
    delta: float,
    largest: float = LARGEST,
) -> float:
    """Return the smallest scale, to four significant digits, whose events cost at most `epsilon`.

    Args:
        events_at: events of a run whose noise has this scale; more scale must cost less.
        epsilon: budget of the whole run.
        delta: the delta it is stated at.
        largest: scale beyond which nothing is looked for, at most 10,000.

    Raises:
        AccountingError: no scale between 0.01 and `largest` fits.
    """
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise AccountingError(f"epsilon {epsilon!r} is not finite and above 0")

    def cost(index: int) -> float:
        return epsilon_of(events_at(_value(index)), delta=delta)

    if cost(_index(largest)) > epsilon:
        raise AccountingError(
            f"no noise up to {largest:g} times the sensitivity keeps epsilon at {epsilon:g} "
            f"(delta={delta:g}); ask for fewer releases or a larger epsilon"
        )
    return _value(_smallest_index(cost, _near(cost, epsilon, largest), epsilon, largest))


def _near(cost: Callable[[int], float], target: float, most: float) -> int:
    """Return an index near the answer: secant steps, epsilon against scale on logarithms."""
    known, slope = (0.0, _log_cost(cost(0))), -1.0
    for _ in range(4):
        position = known[0] + (math.log(target) - known[1]) / slope
        index = _index(math.exp(min(max(position, math.log(SMALLEST)), math.log(most))))
        found = (math.log(_value(index)), _log_cost(cost(index)))
        if abs(found[0] - known[0]) < 1e-3:
            break
        slope = min((found[1] - known[1]) / (found[0] - known[0]), -0.1)
        known = found
    return index


def _log_cost(cost: float) -> float:
    # Some mechanisms cost infinity where there is hardly any noise.
    return math.log(min(max(cost, 1e-9), 1e9))


def _smallest_index(cost: Callable[[int], float], near: int, target: float, most: float) -> int:
    """Return the first index that costs at most `target`, by growing steps and halving."""
    smallest, largest = _index(SMALLEST), _index(most)
    step, fits = 1, cost(near) <= target
    low, high = (near, near)
    while fits and low > smallest and cost(low) <= target:
        high, low, step = low, max(low - step, smallest), 2 * step
    while not fits and high < largest and cost(high) > target:
        low, high, step = high, min(high + step, largest), 2 * step
    if low == smallest and cost(low) <= target:
        return low
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if cost(middle) <= target else (middle, high)
    return high


def _value(index: int) -> float:
    """Return the number of four significant digits with this place in their order; 0 is 1.000."""
    decade, digits = divmod(index, 9000)
    # Decimal spelling, not multiplication, gives the double nearest to the four digits.
    return float(f"{1000 + digits}e{decade - 3}")


def _index(scale: float) -> int:
    """Return the place of the first number of four digits at or above `scale`."""
    decade = math.floor(math.log10(scale))
    index = decade * 9000 + math.ceil(scale / 10.0 ** (decade - 3)) - 1000
    return index if _value(index) >= scale else index + 1
