"""A number with its interval, and a group's number with the group's size.

Closed-form intervals that hold sampling error and the noise of the sums together.

Why closed forms and not a bootstrap: they need no random numbers (an offline check gives the same
bytes), a gap takes microseconds, and each is the textbook interval when the noise is off.

A rate p = A / (A + B) is seen through a = A + noise, b = B + noise. The statistic
T(p) = (1 - p) a - p b has mean 0 at the true p and variance
n p (1 - p) + (1 - p)^2 Va + p^2 Vb, whatever the noise did to the denominator. The interval is
every p that this test does not reject: Wilson (1927) when Va = Vb = 0, Fieller (1954) when noise
rules. Differences and ratios of independent groups are put together from their intervals:
square-and-add (Newcombe 1998, Stat. Med. 17:873, method 10; Zou and Donner 2008, Stat. Med.
27:1693), and its form for ratios (Donner and Zou 2012, Stat. Methods Med. Res. 21:347, eq. 9).
These also work at rates of 0 and 1, where a log-delta interval has no width.

A mean over people of something between 0 and a bound, with its interval.

With S the noised sum and n the noised head count, T(A) = S - A n has mean 0 at the true mean A. A
number between 0 and M with mean A has variance at most A (M - A) (Bhatia and Davis 2000), so that
var T(A) <= n A (M - A) + V_S + A^2 V_n, V the noise variances. The interval is every A that this
test does not reject, the roots of a quadratic: Wilson's for a share (M = 1, each 0 or 1) without
noise, and wider than necessary if the changes are similar. Where each number was rounded to a step
before it was summed, the mean may be off by half of one, and the limits are that much wider.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from fedethics.errors import FairnessError
from fedethics.fairness.explained import FloatArray


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A value and the interval that covers the truth with the stated confidence.

    The interval holds sampling error and the noise of the sums. An undefined value is NaN, and
    its interval the metric's whole range: nothing is known, and it shows. Where noise carried a
    value out of its range, it was cut at the end, and the end was not
    measured: it is shown nowhere (`figure`), and the interval stands.

    Attributes:
        value: the estimate, or NaN. For readers, take `figure`.
        low: lower limit, never outside the metric's range.
        high: upper limit, of the same interval.
        confidence: nominal coverage, for example 0.95.
        note: what a reader must know: groups left out and why, which groups are furthest apart.
        cut: the value was cut at the end of its range, see above.
    """

    value: float
    low: float
    high: float
    confidence: float
    note: str = ""
    cut: bool = False

    @property
    def figure(self) -> float:
        """The value as it may be shown: NaN where it was cut, or where there is none."""
        return math.nan if self.cut else self.value

    @property
    def known(self) -> bool:
        """Whether the interval says anything."""
        return not math.isnan(self.value)


CUT = "no estimate: noise carried it out of its range; the interval stands"


def estimated(
    value: float, low: float, high: float, *, confidence: float, note: str = "", cut: bool = False
) -> Estimate:
    """Return an estimate, whose note says so where its value was cut."""
    return Estimate(
        value=value,
        low=low,
        high=high,
        confidence=confidence,
        note="; ".join(filter(None, (CUT if cut else "", note))),
        cut=cut,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupEstimate:
    """One group's metric, its size, and whether both are withheld.

    Attributes:
        estimate: the metric; NaN when suppressed or undefined.
        size: noisy number of records with its interval; NaN when suppressed.
        suppressed: withheld because the group, or a group that it would reveal, is small.
        reason: why there is no value; empty when there is one.
    """

    estimate: Estimate
    size: Estimate
    suppressed: bool
    reason: str


def checked_confidence(confidence: float) -> float:
    """Return `confidence` if it can be one.

    Raises:
        FairnessError: not in [0.5, 1).
    """
    if not 0.5 <= confidence < 1.0:
        raise FairnessError(f"confidence {confidence!r} is not in [0.5, 1); use 0.95, for example")
    return confidence


class Bands(NamedTuple):
    """A value with its limits for each group, arrays of one shape; NaN where undefined.

    Noise may push limits outside a metric's range, or to infinity when it hides the denominator.
    They stay so until all combining is done: a limit cut off at 1 would look like knowledge.
    """

    value: FloatArray
    low: FloatArray
    high: FloatArray


def two_sided(confidence: float) -> float:
    """Return z such that a standard normal lies in [-z, z] with probability `confidence`."""
    from scipy.special import ndtri  # here: it takes half a second to import

    return float(ndtri(0.5 + confidence / 2.0))


def each_of(groups: int, confidence: float) -> float:
    """Return z for one side of `groups` limits that shall all hold (Sidak 1967)."""
    from scipy.special import ndtri

    return float(ndtri((0.5 + confidence / 2.0) ** (1.0 / groups)))


@lru_cache(maxsize=256)
def all_pairs(groups: int, confidence: float) -> float:
    """Return z for all pairwise differences at once (Tukey-Kramer; Hayter 1984, eq. 1.1).

    For two groups this is `two_sided`: one pair needs no correction.
    """
    if groups <= 2:
        return two_sided(confidence)
    from scipy.stats import studentized_range  # here: it takes a second to import

    return float(studentized_range.ppf(confidence, groups, np.inf) / np.sqrt(2.0))


def rate_bands(
    hits: FloatArray,
    misses: FloatArray,
    *,
    hits_noise: float | FloatArray,
    misses_noise: float | FloatArray,
    z: float,
) -> Bands:
    """Return hits / (hits + misses) with its score interval (see the module's text).

    Noisy counts below 0 are taken as 0 first; that only widens the interval, and keeps the value
    inside it. A denominator of 0 gives NaN without limits.

    Args:
        hits: noisy counts of the numerator.
        misses: noisy counts of the rest of the denominator, disjoint from `hits`.
        hits_noise: noise variance of each of `hits`; one for all, or one for each.
        misses_noise: noise variance of each of `misses`.
        z: two-sided critical value.
    """
    a, b = np.maximum(hits, 0.0), np.maximum(misses, 0.0)
    total = a + b
    known = total > 0
    value = np.divide(a, total, out=np.full_like(total, np.nan), where=known)
    # All p with (a - p total)^2 <= z^2 (total p (1 - p) + (1 - p)^2 Va + p^2 Vb), a quadratic.
    va, vb, zz = hits_noise, misses_noise, z * z
    square = total * (total + zz) - zz * (va + vb)
    linear = total * (2.0 * a + zz) - 2.0 * zz * va
    constant = a * a - zz * va
    root = np.sqrt(np.maximum(linear * linear - 4.0 * square * constant, 0.0))
    # Without a positive leading coefficient the noise hides the denominator: any rate may be true.
    bounded = known & (square > 0)
    twice = np.where(bounded, 2.0 * square, 1.0)
    # Rounding must not push a limit past the value (at 0 and 1 they meet).
    low = np.where(bounded, np.fmin((linear - root) / twice, value), -np.inf)
    high = np.where(bounded, np.fmax((linear + root) / twice, value), np.inf)
    return Bands(value, low, high)


def differences(first: Bands, second: Bands) -> Bands:
    """Return first - second for every pair, shape (len(first), len(second))."""
    p, lower, upper = (side[:, None] for side in first)
    q, q_lower, q_upper = (side[None, :] for side in second)
    value = p - q
    with np.errstate(over="ignore"):
        low = value - np.hypot(p - lower, q_upper - q)
        high = value + np.hypot(upper - p, q - q_lower)
    return Bands(value, low, high)


def ratios(first: Bands, second: Bands) -> Bands:
    """Return first / second for every pair; the upper limit may be infinite, 0/0 is NaN."""
    p, lower, upper = (side[:, None] for side in first)
    q, q_lower, q_upper = (side[None, :] for side in second)
    # A rate is never negative; a lower limit of 0 already leaves the ratio open above.
    lower, q_lower = np.maximum(lower, 0.0), np.maximum(q_lower, 0.0)
    product = p * q
    # Eq. 9 with numerator and denominator times the conjugate, so that no 0/0 arises inside.
    low_term, high_term = lower * (2.0 * p - lower), upper * (2.0 * p - upper)
    with np.errstate(divide="ignore", invalid="ignore"):
        low_root = np.sqrt(np.maximum(product**2 - low_term * q_upper * (2.0 * q - q_upper), 0.0))
        high_root = np.sqrt(np.maximum(product**2 - high_term * q_lower * (2.0 * q - q_lower), 0.0))
        low = low_term / (product + low_root)
        high = (product + high_root) / (q_lower * (2.0 * q - q_lower))
        value = p / q
    return Bands(value, np.nan_to_num(low, nan=0.0), np.nan_to_num(high, nan=np.inf, posinf=np.inf))


def averaged(parts: Sequence[Bands], *, independent: bool) -> Bands:
    """Return the mean of several estimates, element by element.

    Limits of independent ones are squared and added (see the module's text). Those of dependent
    ones are averaged: a mean's standard deviation is at most the mean of standard deviations.
    """
    value, low, high = (np.stack(side) for side in zip(*parts, strict=True))
    mean = value.sum(axis=0) / len(parts)
    if independent:
        lower = mean - np.hypot.reduce(value - low) / len(parts)
        upper = mean + np.hypot.reduce(high - value) / len(parts)
    else:
        lower, upper = low.sum(axis=0) / len(parts), high.sum(axis=0) / len(parts)
    return Bands(mean, np.nan_to_num(lower, nan=-np.inf), np.nan_to_num(upper, nan=np.inf))


def f1_of(jaccard: Bands) -> Bands:
    """Return 2 q / (1 + q), increasing in q, with straight lines outside [0, 1]."""

    def transform(q: FloatArray) -> FloatArray:
        inside = np.clip(q, 0.0, 1.0)
        mapped: FloatArray = 2.0 * inside / (1.0 + inside)
        beyond: FloatArray = mapped + 2.0 * np.minimum(q, 0.0) + np.maximum(q - 1.0, 0.0) / 2.0
        return beyond

    return Bands(*(transform(side) for side in jaccard))


def bounded_mean(
    total: FloatArray,
    people: FloatArray,
    *,
    total_noise: float,
    people_noise: float,
    most: float,
    z: float,
    step: float = 0.0,
) -> Bands:
    """Return total / people with its limits, arrays of one shape; NaN if no one is counted.

    Args:
        total: noised sums.
        people: noised head counts.
        total_noise: noise variance of each sum.
        people_noise: noise variance of each head count.
        most: greatest value that one person can add, above 0.
        z: two-sided critical value.
        step: what each person's number was rounded to a multiple of; 0 for whole numbers.
    """
    sums, n = np.maximum(total, 0.0), np.maximum(people, 0.0)
    known = n > 0
    value = np.divide(sums, n, out=np.full_like(n, np.nan), where=known).clip(0.0, most)
    zz = z * z
    square = n * n + zz * n - zz * people_noise
    linear = 2.0 * sums * n + zz * n * most
    constant = sums * sums - zz * total_noise
    root = np.sqrt(np.maximum(linear * linear - 4.0 * square * constant, 0.0))
    # Without a positive leading coefficient the noise hides how many there are.
    bounded = known & (square > 0)
    twice = np.where(bounded, 2.0 * square, 1.0)
    half = 0.5 * step
    low = np.where(bounded, np.fmin((linear - root) / twice, value) - half, -np.inf)
    high = np.where(bounded, np.fmax((linear + root) / twice, value) + half, np.inf)
    return Bands(value, low, high)
