r"""A mean over people of something between 0 and a bound, with its interval.

With S the noised sum and n the noised head count, T(A) = S - A n has mean 0 at the true mean A. A
number between 0 and M with mean A has variance at most A (M - A) (Bhatia and Davis 2000), so that
var T(A) <= n A (M - A) + V_S + A^2 V_n, V the noise variances. The interval is every A that this
test does not reject, the roots of a quadratic: Wilson's for a share (M = 1, each 0 or 1) without
noise, and wider than need be where the changes are alike. Where each number was rounded to a step
before it was summed, the mean may be off by half of one, and the limits are that much wider.
"""

from __future__ import annotations

import numpy as np

from fedethics.fairness.estimate import Bands
from fedethics.fairness.explained import FloatArray


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
    """Return total / people with its limits, arrays of one shape; NaN where nobody is counted.

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
