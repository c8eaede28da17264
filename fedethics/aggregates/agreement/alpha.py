"""Krippendorff's alpha with an interval, from an opened sum of coincidences.

With E the expected disagreement and O the observed one, T(a) = (1 - a) E - O has mean 0 at the true
alpha. The interval is every a that this test does not reject, the roots of a quadratic (Fieller
1954), so it is right too where noise hides E: then it is everything, and there is no estimate.

The variance of T has two parts, both to first order in the entries of the sum.

* Noise: the variance of an entry times the squared gradient.
* Records: the sum alone does not tell which labels were given to one record. A record's part is the
  mean over its pairs of labels, so it varies no more than that of one pair drawn at random. Of M
  annotators at most, n labels are of at least n / M records. So the variance is at most n M times
  that of one pair: exact with two annotators, more than need be with more. Counted as seen in
  addition are z^2 pairs drawn by chance, as in Wilson's interval, so that full agreement among few
  records is not taken for certainty.

E is a polynomial of noisy totals, so noise moves its mean; that is subtracted to second order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from fedethics.charter.annotation_terms import AnnotationTerms
from fedethics.data.agreement import FloatArray, disagreements
from fedethics.fairness.estimate import Estimate, estimated, two_sided

LOWEST = -1.0
# How far the number of labels must stand out from its noise before anything is divided by it.
_HEARD = 4.0


def entries(labels: int) -> int:
    """Return the length of the sum: the upper triangle of the matrix, with its diagonal."""
    return labels * (labels + 1) // 2


def matrix_of(sums: Sequence[int], terms: AnnotationTerms) -> FloatArray:
    """Return the coincidence matrix, shape (V, V), from a sum's upper triangle in steps."""
    return _square(np.asarray(sums, dtype=np.float64) / terms.steps, len(terms.labels))


def alpha_of(sums: Sequence[int], terms: AnnotationTerms, *, variance: float) -> Estimate:
    """Return alpha over all records of the sum.

    Args:
        sums: the upper triangle, row by row, in steps of `terms.steps` to a coincidence.
        terms: levels, values, annotators and confidence.
        variance: of the noise on each entry of the sum, in squared steps.
    """
    x = np.asarray(sums, dtype=np.float64) / terms.steps
    noise, size = variance / terms.steps**2, len(terms.labels)
    values = np.array(terms.values)
    labels = float(_square(x, size).sum())
    # Each entry off the diagonal stands for two, so its noise counts four times.
    noise_of_labels = math.sqrt(noise * (size + 2 * size * (size - 1)))
    if labels < max(2.0 * len(terms.annotators), _HEARD * noise_of_labels):
        return _nothing(terms.confidence, "noise leaves too few labels to tell")

    def parts(at: FloatArray) -> FloatArray:
        found = disagreements(_square(at, size), level=terms.level, values=values)
        return np.array(found)

    slopes = _gradient(parts, x, step=1e-4 * labels)
    observed, expected = parts(x) - _bend(parts, x, noise)
    z = two_sided(terms.confidence)
    spread = noise * slopes @ slopes.T
    spread += len(terms.annotators) * labels * _of_one_pair(x, slopes, terms, z)
    low, high = _accepted(observed, expected, spread, z)
    if expected <= 0 or not math.isfinite(low):
        return _nothing(terms.confidence, "labels vary too little, or noise hides how they vary")
    value = 1 - observed / expected
    return estimated(
        min(max(value, LOWEST), 1.0),
        max(low, LOWEST),
        min(high, 1.0),
        confidence=terms.confidence,
        cut=not LOWEST <= value <= 1.0 + 1e-12,
    )


def reach_of(terms: AnnotationTerms, *, records: int, variance: float) -> tuple[float, float]:
    """Return the lowest alpha that is shown to meet the bar, and the highest shown to miss it.

    To a hundredth, for records that every annotator labels, each label as often as the others;
    above 1 and below -1 where there is none.

    Args:
        terms: with a bar.
        records: at all sites.
        variance: of the noise on each entry of the sum, in squared steps.
    """
    size, bar = len(terms.labels), terms.bar or 0.0
    chance, labels = np.full((size, size), 1 / size**2), records * len(terms.annotators)

    def at(alpha: float) -> Estimate:
        shares = (1 - alpha) * chance + alpha * np.eye(size) / size
        expected = shares[np.triu_indices(size)] * labels * terms.steps
        return alpha_of(np.rint(expected).astype(np.int64).tolist(), terms, variance=variance)

    grid = [number / 100 for number in range(101)]
    passes = next((alpha for alpha in grid if at(alpha).low >= bar), math.inf)
    fails = next((alpha for alpha in reversed(grid) if at(alpha).high < bar), -math.inf)
    return passes, fails


def _nothing(confidence: float, why: str) -> Estimate:
    return Estimate(value=math.nan, low=LOWEST, high=1.0, confidence=confidence, note=why)


def _square(upper: FloatArray, size: int) -> FloatArray:
    found = np.zeros((size, size))
    found[np.triu_indices(size)] = upper
    return np.asarray(found + np.triu(found, 1).T)


def _gradient(of: Callable[[FloatArray], FloatArray], at: FloatArray, *, step: float) -> FloatArray:
    """Return how observed and expected disagreement move with each entry, shape (2, entries)."""
    moves = step * np.eye(at.size)
    return np.stack([(of(at + move) - of(at - move)) / (2 * step) for move in moves], axis=1)


def _bend(of: Callable[[FloatArray], FloatArray], at: FloatArray, noise: float) -> FloatArray:
    """Return what noise of this variance on every entry adds to the mean of both, shape (2,)."""
    if not noise:
        return np.zeros(2)
    moves, middle = math.sqrt(noise) * np.eye(at.size), of(at)
    bends = [of(at + move) + of(at - move) - 2 * middle for move in moves]
    return np.asarray(np.sum(bends, axis=0) / 2)


def _of_one_pair(x: FloatArray, slopes: FloatArray, terms: AnnotationTerms, z: float) -> FloatArray:
    """Return the second moments of what one pair of labels adds to both, shape (2, 2)."""
    size = len(terms.labels)
    rows, columns = np.triu_indices(size)
    twice = np.where(rows == columns, 1.0, 2.0)  # both orders of a pair of unlike labels
    # Noise may push an entry below zero, which no share is.
    seen = twice * np.maximum(x, 0.0)
    seen /= seen.sum()
    totals = np.maximum(_square(x, size), 0.0).sum(axis=1)
    totals /= totals.sum()
    by_chance = twice * totals[rows] * totals[columns]
    records = max(float((twice * x).sum()) / len(terms.annotators), 1.0)
    shares = (records * seen + z * z * by_chance) / (records + z * z)
    each = slopes / twice
    return np.asarray((each * shares) @ each.T)


def _accepted(
    observed: float, expected: float, spread: FloatArray, z: float
) -> tuple[float, float]:
    """Return the ends of what the test does not reject; NaN where it rejects nothing in reach."""
    of_observed, both, of_expected = spread[0, 0], spread[0, 1], spread[1, 1]
    square = expected**2 - z * z * of_expected
    half = expected * observed - z * z * both
    rest = observed**2 - z * z * of_observed
    inside = half * half - square * rest
    if square <= 0 or inside < 0:
        return math.nan, math.nan
    root = math.sqrt(inside)
    return 1 - (half + root) / square, 1 - (half - root) / square
