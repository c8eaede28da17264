r"""Means over records of something that depends on label and score, from score histograms.

A record's score is known to its bin, so a mean of f(label, score) lies between the means of the
least and the greatest f over each bin: certified limits without any assumption. The value takes
each bin's middle.

Interval: T(A) = sum over label and bin of (f - A) n has mean 0 at the true mean A and variance
sum (f - A)^2 (n + V), where V is the noise variance of an entry. All A not rejected are a quadratic
in A, as for rates (see `intervals`); the lower limit takes the least f, the upper the greatest.
"""

from __future__ import annotations

import numpy as np

from fedethics.fairness.estimate import Bands
from fedethics.fairness.partition import FloatArray, Partition


def mean_bands(partition: Partition, metric: str, *, z: float) -> Bands:
    """Return the mean of `metric`, one of the measure's, for each group, arrays of shape (G,)."""
    _, rows, bins = partition.scores.shape
    values = partition.measured.means[metric](np.arange(bins + 1) / bins)
    # Negative entries stay: cutting off the noise's lower half in many bins would bias the mean.
    people = partition.scores.reshape(len(partition.groups), rows * bins)
    total = people.sum(axis=1)
    known = total > 0
    value = np.divide(
        people @ values.middle.ravel(), total, out=np.full_like(total, np.nan), where=known
    ).clip(0.0, 1.0)
    low = _limit(people, values.least.ravel(), partition.histogram_variance, z, upper=False)
    high = _limit(people, values.greatest.ravel(), partition.histogram_variance, z, upper=True)
    return Bands(
        value,
        np.where(known, np.fmin(low, value), -np.inf),
        np.where(known, np.fmax(high, value), np.inf),
    )


def _limit(people: FloatArray, f: FloatArray, noise: float, z: float, *, upper: bool) -> FloatArray:
    """Return the least or greatest A with (sum f n - A N)^2 <= z^2 sum (f - A)^2 (n + V)."""
    total, first = people.sum(axis=1), people @ f
    weights = np.maximum(people, 0.0) + noise
    zz = z * z
    square = total**2 - zz * weights.sum(axis=1)
    linear = total * first - zz * (weights @ f)
    constant = first**2 - zz * (weights @ (f * f))
    root = np.sqrt(np.maximum(linear**2 - square * constant, 0.0))
    # Without a positive leading coefficient the noise hides how many there are.
    bounded = square > 0
    end = (linear + root if upper else linear - root) / np.where(bounded, square, 1.0)
    return np.where(bounded, end, np.inf if upper else -np.inf)
