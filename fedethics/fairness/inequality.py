r"""Inequality of benefits (Speicher et al. 2018, arXiv 1807.00787), as AIF360 names and defines it.

A record's benefit is prediction - label + 1: 0 for a missed positive, 1 for a right prediction,
2 for a false alarm. The generalized entropy index (alpha 2) is half the squared coefficient of
variation of the benefits, Theil's index the limit alpha -> 1. They call a false alarm a benefit:
use them where being predicted positive is one.

Within everyone or a group: all three depend on the shares of the three benefits alone, so their
variance by the delta method is sum (df/dn)^2 (n + V). Between groups: every record gets its group's
mean benefit; each mean has an interval, all at once (Sidak), and the limits are the least and the
greatest index over the box that these intervals span.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from fedethics.fairness.estimate import Bands, each_of
from fedethics.fairness.partition import FloatArray, Partition

_BENEFITS = np.array([0.0, 1.0, 2.0])
# Entries of counts[y, yhat] behind each benefit.
_MISSED, _RIGHT, _FALSE_ALARM = ((1, 0),), ((0, 0), (1, 1)), ((0, 1),)
_MOST_CORNERS = 12
_COMMON_MEANS = 401


def _entropy(benefits: FloatArray, weights: FloatArray) -> FloatArray:
    mean = (weights * benefits).sum(axis=-1, keepdims=True)
    result: FloatArray = (weights * ((benefits / mean) ** 2 - 1.0)).sum(axis=-1) / 2.0
    return result


def _theil(benefits: FloatArray, weights: FloatArray) -> FloatArray:
    share = benefits / (weights * benefits).sum(axis=-1, keepdims=True)
    terms = weights * share * np.log(np.where(share > 0, share, 1.0))
    result: FloatArray = terms.sum(axis=-1)
    return result


def _variation(benefits: FloatArray, weights: FloatArray) -> FloatArray:
    return np.sqrt(2.0 * np.maximum(_entropy(benefits, weights), 0.0))


INDICES: dict[str, Callable[[FloatArray, FloatArray], FloatArray]] = {
    "generalized_entropy_index": _entropy,
    "theil_index": _theil,
    "coefficient_of_variation": _variation,
}


def inequality_bands(partition: Partition, metric: str, *, z: float) -> Bands:
    """Return the index `metric` over each group's records, arrays of shape (G,)."""
    if metric == "coefficient_of_variation":
        squared = inequality_bands(partition, "generalized_entropy_index", z=z)
        return Bands(*(np.sqrt(2.0 * np.maximum(side, 0.0)) for side in squared))
    index = INDICES[metric]
    counts, noise = _benefit_counts(partition)
    # Nobody there, or everyone missed: no mean to divide by.
    known = (counts @ _BENEFITS) > 0
    safe = np.where(known[:, None], counts, 1.0)
    value = index(_BENEFITS, safe / safe.sum(axis=1, keepdims=True))
    variance = (_gradient(index, safe) ** 2 * (safe + noise)).sum(axis=1)
    # Where an entry is 0, the slope there misses what one more record would do.
    one_more = np.abs(_one_more(index, safe) - value[:, None]).max(axis=1)
    margin = z * np.sqrt(variance + one_more**2)
    return Bands(
        np.where(known, value, np.nan),
        np.where(known, value - margin, -np.inf),
        np.where(known, value + margin, np.inf),
    )


def between_groups(partition: Partition, metric: str, *, confidence: float) -> Bands:
    """Return the index of the groups' mean benefits, weighted by their sizes; arrays of shape (1,).

    Groups without records do not enter. With more than 12 groups the upper limit is the index's
    greatest value for benefits in [0, 2], since the corners of the box are too many to visit.
    """
    counts, noise = _benefit_counts(partition)
    there = counts.sum(axis=1) > 0
    counts, groups = counts[there], int(there.sum())
    index = INDICES[metric]
    if groups == 0 or not (counts @ _BENEFITS).sum() > 0:
        return Bands(*(np.array([each]) for each in (np.nan, -np.inf, np.inf)))
    total = counts.sum(axis=1)
    weights = total / total.sum()
    means = counts @ _BENEFITS / total
    spread = (_BENEFITS - means[:, None]) ** 2 * (counts + noise)
    # A group in which all have one benefit still has the uncertainty of one record.
    error = np.sqrt(spread.sum(axis=1) + 1.0) / total
    margin = each_of(groups, confidence) * error
    low, high = np.maximum(means - margin, 1e-9), np.minimum(means + margin, 2.0)
    value = index(means, weights)
    least = index(np.clip(np.linspace(1e-9, 2.0, _COMMON_MEANS)[:, None], low, high), weights).min()
    greatest = _greatest(index, low, high, weights)
    return Bands(*(np.array([float(each)]) for each in (value, min(least, value), greatest)))


def _greatest(
    index: Callable[[FloatArray, FloatArray], FloatArray],
    low: FloatArray,
    high: FloatArray,
    weights: FloatArray,
) -> float:
    """Return the greatest index over the box: convex along each side, so at a corner."""
    if len(low) > _MOST_CORNERS:
        return float("inf")
    corners = np.array(list(itertools.product(*zip(low, high, strict=True))))
    return float(index(corners, weights).max())


def _benefit_counts(partition: Partition) -> tuple[FloatArray, FloatArray]:
    """Return people by benefit, shape (G, 3), and the noise variance of each of the three."""
    entries = (_MISSED, _RIGHT, _FALSE_ALARM)
    counts = np.stack(
        [sum(partition.counts[:, y, yhat] for y, yhat in each) for each in entries], axis=1
    )
    noise = partition.counts_variance * np.array([len(each) for each in entries], dtype=np.float64)
    return np.maximum(counts, 0.0), noise


def _gradient(
    index: Callable[[FloatArray, FloatArray], FloatArray], counts: FloatArray
) -> FloatArray:
    """Return df/dn by central differences, shape (G, 3); one-sided where nobody is."""
    slopes = []
    for entry in range(3):
        step = np.zeros(3)
        step[entry] = 1e-4
        up, down = counts + step * counts.sum(axis=1, keepdims=True), counts.copy()
        down = np.maximum(counts - step * counts.sum(axis=1, keepdims=True), 0.0)
        width = (up - down)[:, entry]
        slopes.append((_of(index, up) - _of(index, down)) / width)
    return np.stack(slopes, axis=1)


def _one_more(
    index: Callable[[FloatArray, FloatArray], FloatArray], counts: FloatArray
) -> FloatArray:
    """Return the index with one record more of each benefit, shape (G, 3)."""
    return np.stack([_of(index, counts + np.eye(3)[entry]) for entry in range(3)], axis=1)


def _of(index: Callable[[FloatArray, FloatArray], FloatArray], counts: FloatArray) -> FloatArray:
    return index(_BENEFITS, counts / counts.sum(axis=1, keepdims=True))
