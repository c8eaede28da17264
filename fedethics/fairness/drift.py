"""How far a window of new records is from the records at release, from noised counts alone.

All figures have intervals for sampling, of the release and of the window, and for the noise on
both. They are wide where little is known; a bar inside one decides nothing.

- Kolmogorov distance: the score intervals of the distribution function at every edge, at once
  (Bonferroni), joined as Newcombe (1998, method 10) does; the largest of them.
- Population stability index: sum (p - q) ln(p / q) = sum (p - q)^2 / L(p, q) with the logarithmic
  mean L (Carlson 1972), so its root is a norm of p - q. The norm of the error of p - q is below
  its bound with the stated confidence (Laurent and Massart 2000, lemma 1, for weighted sums of
  squared normals), and by the triangle inequality the root moves by no more.
- Calibration and rates: the delta method with Poisson counts, and the score interval.

Repeated looks: window k spends false_alarm / (k (k + 1)) of the chance of a false alarm, and each
of its figures an equal part of that. These sum to at most `false_alarm` over any number of windows,
whatever depends on what (union bound; alpha spending as in Lan and DeMets 1983).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedethics.fairness.estimate import (
    Bands,
    Estimate,
    differences,
    estimated,
    rate_bands,
    two_sided,
)
from fedethics.fairness.partition import FloatArray

# Scores are compared in so many bins at most; fewer where the release had few records in one.
BINS = 8
# Records that a bin of the release needs: below, a logarithm of its share says little.
FEWEST = 10.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scored:
    """Noised counts of scores.

    Attributes:
        counts: shape (rows, bins): negatives, positives and, in a window, records without label.
        variance: of the noise on each entry, or on each of a bin, shape (bins,).
    """

    counts: FloatArray
    variance: float | FloatArray

    @property
    def noise(self) -> FloatArray:
        """Variance of the noise on each entry, shape (rows, bins)."""
        return np.broadcast_to(np.asarray(self.variance, dtype=np.float64), self.counts.shape)

    def grouped(self, edges: Sequence[int]) -> tuple[FloatArray, FloatArray]:
        """Return the rows' counts between these bins, and the noise variance of each, (rows, G)."""
        starts = list(edges[:-1])
        summed = np.add.reduceat(self.counts, starts, axis=1)
        return summed, np.add.reduceat(self.noise, starts, axis=1)


def spent_at(number: int, false_alarm: float) -> float:
    """Return the chance of a false alarm that window `number`, counted from 1, may have."""
    return false_alarm / (number * (number + 1))


def common_bins(release: Scored) -> tuple[int, ...]:
    """Return where scores are cut: up to `BINS` bins, none with few records at release.

    A function of what the release has published, so it costs nothing.
    """
    bins = release.counts.shape[1]
    marks = sorted({round(part * bins / BINS) for part in range(BINS + 1)})
    noise = math.sqrt(float(release.noise.sum()) / min(bins, BINS))
    needed = max(FEWEST, 3.0 * noise)
    edges = [0]
    for mark in marks[1:]:
        if release.counts[:, edges[-1] : mark].sum() >= needed:
            edges.append(mark)
    if edges[-1] != bins:
        edges = [*edges[:-1], bins] if len(edges) > 1 else [0, bins]
    return tuple(edges)


def score_ks(release: Scored, window: Scored, *, confidence: float) -> Estimate:
    """Return the Kolmogorov distance between the scores at release and in the window."""
    edges = common_bins(release)
    if len(edges) < 3:
        return _nothing(confidence, "too few records at release to cut the scores")
    z = two_sided(1.0 - (1.0 - confidence) / (2.0 * (len(edges) - 2)))
    each = differences(_distribution(release, edges, z), _distribution(window, edges, z))
    value, low, high = (np.diagonal(side) for side in each)
    if not np.isfinite(value).all():
        return _nothing(confidence, "no records")
    least = np.maximum(np.maximum(low, -high), 0.0)
    most = np.minimum(np.maximum(np.abs(low), np.abs(high)), 1.0)
    return estimated(
        float(np.abs(value).max()), float(least.max()), float(most.max()), confidence=confidence
    )


def _distribution(scored: Scored, edges: Sequence[int], z: float) -> Bands:
    counts, noise = scored.grouped(edges)
    below, below_noise = (np.cumsum(side.sum(axis=0))[:-1] for side in (counts, noise))
    all_of, all_noise = counts.sum(), noise.sum()
    return rate_bands(
        below,
        all_of - below,
        hits_noise=below_noise,
        misses_noise=all_noise - below_noise,
        z=z,
    )


def score_psi(release: Scored, window: Scored, *, confidence: float) -> Estimate:
    """Return the population stability index of the scores."""
    edges = common_bins(release)
    if len(edges) < 3:
        return _nothing(confidence, "too few records at release to cut the scores")
    (p, p_error), (q, q_error) = (_shares(each, edges) for each in (release, window))
    if p.size == 0 or q.size == 0:
        return _nothing(confidence, "no records")
    mean = _logarithmic_mean(p, q)
    apart = math.sqrt(float((((p - q) ** 2) / mean).sum()))
    root = np.sqrt(mean)
    spread = (p_error + q_error) / root[:, None] / root[None, :]
    sizes = np.clip(np.linalg.eigvalsh(spread), 0.0, None)
    t = -math.log(1.0 - confidence)
    radius = math.sqrt(
        sizes.sum() + 2.0 * math.sqrt(t * float((sizes**2).sum())) + 2.0 * t * float(sizes.max())
    )
    return estimated(
        max(apart**2 - float(sizes.sum()), 0.0),
        max(apart - radius, 0.0) ** 2,
        (apart + radius) ** 2,
        confidence=confidence,
    )


def _shares(scored: Scored, edges: Sequence[int]) -> tuple[FloatArray, FloatArray]:
    """Return each bin's share, none below what noise hides, and the covariance of its error."""
    counts, noise = (side.sum(axis=0) for side in scored.grouped(edges))
    total = float(counts.sum())
    if total <= 3.0 * math.sqrt(float(noise.sum())) or total < 1.0:
        return np.zeros(0), np.zeros((0, 0))
    kept = np.maximum(counts, np.maximum(0.5, np.sqrt(noise)))
    share = kept / kept.sum()
    # Multinomial, and noise that moves a bin and, through the total, every other one.
    pull = np.eye(share.size) - share[:, None]
    covariance = (np.diag(share) - np.outer(share, share)) / total
    return share, covariance + pull @ np.diag(noise) @ pull.T / total**2


def _logarithmic_mean(p: FloatArray, q: FloatArray) -> FloatArray:
    middle, apart = (p + q) / 2.0, p - q
    near = np.abs(apart) < 1e-6 * middle
    with np.errstate(divide="ignore", invalid="ignore"):
        found = apart / (np.log(p) - np.log(q))
    return np.where(near, middle, found)


def calibration(release: Scored, window: Scored, *, confidence: float) -> Estimate:
    """Return the largest cumulative miscalibration, each bin's rate at release being the right one.

    The share of all records that are positive and score at most so much, less the share expected at
    the release's rates; the largest distance from 0 over all edges (ECCE-MAD of Arrieta-Ibarra et
    al. 2022, against the release in place of the score itself).
    """
    edges = common_bins(release)
    (then, then_noise), (now, now_noise) = (each.grouped(edges) for each in (release, window))
    then, now = then[:2], now[:2]
    x = np.concatenate([then.ravel(), now.ravel()])
    noise = np.concatenate([then_noise[:2].ravel(), now_noise[:2].ravel()])
    if now.sum() <= 3.0 * math.sqrt(float(now_noise[:2].sum())) or then.sum() <= 0:
        return _nothing(confidence, "too few records with a label")
    value = _miscalibrated(x)
    step = np.maximum(1.0, np.sqrt(noise))
    slopes = np.stack(
        [
            (_miscalibrated(x + move) - _miscalibrated(x - move)) / (2.0 * size)
            for move, size in zip(np.diag(step), step, strict=True)
        ]
    )
    variance = (slopes**2 * (np.maximum(x, 0.0) + 1.0 + noise)[:, None]).sum(axis=0)
    half = two_sided(1.0 - (1.0 - confidence) / value.size) * np.sqrt(variance)
    return estimated(
        float(np.abs(value).max()),
        float(np.maximum(np.abs(value) - half, 0.0).max()),
        min(float((np.abs(value) + half).max()), 1.0),
        confidence=confidence,
    )


def _miscalibrated(x: FloatArray) -> FloatArray:
    """Return, up to each edge, positives less those expected, as shares of the window's records.

    Args:
        x: negatives and positives by bin, at release and in the window, flat.
    """
    old, new = np.maximum(x, 0.0).reshape(2, 2, -1)
    # Half a record of each kind: a bin of which nothing is known has a rate of a half.
    rate = (old[1] + 0.5) / (old.sum(axis=0) + 1.0)
    return np.asarray(np.cumsum(new[1] - new.sum(axis=0) * rate) / max(float(new.sum()), 1.0))


def label_rate(release: Scored, window: Scored, *, confidence: float) -> Estimate:
    """Return the change of the share of positives among records with a label."""
    z = two_sided(confidence)
    bands = []
    for each in (release, window):
        counts, noise = each.counts[:2].sum(axis=1), each.noise[:2].sum(axis=1)
        bands.append(
            rate_bands(counts[1:], counts[:1], hits_noise=noise[1:], misses_noise=noise[:1], z=z)
        )
    value, low, high = (float(side[0, 0]) for side in differences(bands[1], bands[0]))
    if not math.isfinite(value):
        return _nothing(confidence, "no records with a label")
    return _without_sign(value, low, high, confidence)


def share(part: float, whole: float, *, variance: float, confidence: float) -> Estimate:
    """Return part / whole, two noised counts of which the second holds the first."""
    if whole <= 0:
        return _nothing(confidence, "no records")
    z = two_sided(confidence)
    # The rest is the difference of the two, which has the noise of both.
    bands = rate_bands(
        np.array([part]),
        np.array([whole - part]),
        hits_noise=variance,
        misses_noise=2.0 * variance,
        z=z,
    )
    value, low, high = (float(side[0]) for side in bands)
    low = max(low - _slack(variance, whole, z), 0.0)
    high = min(high + _slack(variance, whole, z), 1.0)
    return estimated(value, low, high, confidence=confidence)


def _slack(variance: float, whole: float, z: float) -> float:
    # Part and rest share noise, which `rate_bands` takes as independent: at most this more.
    return z * math.sqrt(2.0 * variance) / whole


def _without_sign(value: float, low: float, high: float, confidence: float) -> Estimate:
    low, high = max(low, -1.0), min(high, 1.0)
    least = max(low, -high, 0.0)
    return estimated(abs(value), min(least, abs(value)), max(-low, high), confidence=confidence)


def _nothing(confidence: float, why: str) -> Estimate:
    return Estimate(value=math.nan, low=0.0, high=math.inf, confidence=confidence, note=why)
