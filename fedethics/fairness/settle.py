"""What would settle an open verdict: more records, or less noise, at the same rates."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from fedethics.fairness.partition import Partition

Limits: TypeAlias = tuple[float, float, float]

_MOST_RECORDS = 1000.0
_STEPS = 24


def what_would_settle(
    partition: Partition,
    *,
    evaluate: Callable[[Partition], Limits],
    decided: Callable[[Limits], bool],
    binned: bool,
) -> str:
    """Say how many more records, or how much less noise, would decide at the rates now estimated.

    Both figures come from the intervals themselves, on tables with every count multiplied (same
    noise) or with the noise's standard deviation multiplied (same counts). They hold if the rates
    stay where they are now estimated; the next sample may move them, and the answer says so.
    `binned` says that the width of the score bins is part of the interval.
    """

    def with_records(factor: float) -> bool:
        return decided(evaluate(partition.scaled(records=factor)))

    def with_noise(factor: float) -> bool:
        return decided(evaluate(partition.scaled(noise=factor)))

    sentences = [_records(partition, with_records, binned=binned)]
    if partition.counts_variance > 0 or partition.histogram_variance > 0:
        sentences.append(_noise(with_noise))
    _, low, high = evaluate(partition)
    surely = "" if high - low < 1.0 else ", which an interval this wide gives no reason to expect"
    return " ".join([*sentences, f"This supposes that the rates stay as now estimated{surely}."])


def _records(partition: Partition, settles: Callable[[float], bool], *, binned: bool) -> str:
    if not settles(_MOST_RECORDS):
        or_bins = ", or the score bins are too wide" if binned else ""
        return (
            f"Even {_MOST_RECORDS:g} times as many records would not settle it: the estimate lies "
            f"too close to the bar{or_bins}."
        )
    factor = _least(settles, 1.0, _MOST_RECORDS)
    more = max(float(partition.sizes.sum()), 0.0) * (factor - 1.0)
    return (
        f"About {_two_digits(factor)} times as many held-out records (some {_two_digits(more)} "
        "more, of the same mix and with the same noise) would settle it."
    )


def _noise(settles: Callable[[float], bool]) -> str:
    if not settles(0.0):
        return "Less noise alone would not: even with none, this many records would leave it open."
    # The greatest factor that still settles it: look for the least divisor.
    if not settles(1.0 / _MOST_RECORDS):
        return "Only next to no noise would settle it with these records."
    divisor = _least(lambda by: settles(1.0 / by), 1.0, _MOST_RECORDS)
    return (
        f"So would these records with {_two_digits(divisor)} times less noise (a release at about "
        f"{_two_digits(divisor)} times its epsilon)."
    )


def _least(settles: Callable[[float], bool], low: float, high: float) -> float:
    """Return the least factor in [low, high] that settles it, by bisection on the log scale."""
    for _ in range(_STEPS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if settles(middle) else (middle, high)
    return high


def _two_digits(number: float) -> str:
    if number <= 0:
        return "0"
    # Rounded up: the figure must suffice.
    step = 10.0 ** (math.floor(math.log10(number)) - 1)
    return f"{math.ceil(number / step - 1e-9) * step:,.10g}"
