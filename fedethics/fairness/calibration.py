"""Calibration from score histograms: of those given a score, how many were positive?

Scores are put into coarse bins of as many fine ones each (`coarse_bins`). A coarse bin's mean score
is known to half a fine bin's width. The expected calibration error (ECE; Naeini et al. 2015,
section 2) is the mean over records of the distance between a coarse bin's rate of positives and
its mean score.

Interval: each coarse bin's rate has the score interval of `intervals`, all of them at once at the
stated confidence (Sidak); the ECE's limits take every bin at its nearest and at its farthest. That
is wide and honest: the ECE itself is biased upwards in small samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedethics.errors import FairnessError
from fedethics.fairness.estimate import Bands, checked_confidence, each_of, rate_bands, two_sided
from fedethics.fairness.layout import Tables
from fedethics.fairness.partition import (
    MINIMUM_CELL,
    FloatArray,
    Partition,
    by_feature,
    everyone,
    suppressed_groups,
)

MOST_COARSE_BINS = 10


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Reliability:
    """A reliability diagram: one point for each coarse bin that holds somebody.

    Attributes:
        score: mean score of each bin, known to within `slack`.
        rate: share of positives among its records.
        low, high: limits of the rates, all of them at once at the stated confidence.
        people: noisy number of records in each bin.
        slack: half the width of a fine bin.
    """

    score: FloatArray
    rate: FloatArray
    low: FloatArray
    high: FloatArray
    people: FloatArray
    slack: float


def coarse_bins(bins: int) -> int:
    """Return the number of coarse bins: the greatest divisor of `bins` up to 10."""
    return max(count for count in range(1, MOST_COARSE_BINS + 1) if bins % count == 0)


def calibration_bands(partition: Partition, *, z: float) -> Bands:
    """Return each group's expected calibration error, arrays of shape (G,)."""
    score, rates, people = _coarse(partition, z)
    total = people.sum(axis=1)
    known = total > 0
    weight = np.divide(people, total[:, None], out=np.zeros_like(people), where=known[:, None])
    least, most = _score_limits(partition, score)

    def mean(distance: FloatArray) -> FloatArray:
        # A bin without records has no rate and no weight.
        summed: FloatArray = (np.where(weight > 0, distance, 0.0) * weight).sum(axis=1)
        return summed

    low, high = np.maximum(rates.low, 0.0), np.minimum(rates.high, 1.0)
    nearest = np.maximum(np.maximum(low - most, least - high), 0.0)
    farthest = np.minimum(np.maximum(high - least, most - low), 1.0)
    value = np.where(known, mean(np.abs(rates.value - score)), np.nan)
    return Bands(
        value,
        np.where(known, np.fmin(mean(nearest), value), -np.inf),
        np.where(known, np.fmax(mean(farthest), value), np.inf),
    )


def reliability(
    tables: Tables,
    *,
    feature: str | None = None,
    group: str | None = None,
    confidence: float = 0.95,
    minimum_cell: int = MINIMUM_CELL,
) -> Reliability | None:
    """Return the diagram over everyone or over one group; None where the group is withheld.

    Raises:
        FairnessError: unknown feature or group, or histograms were not collected for it.
    """
    checked_confidence(confidence)
    partition = everyone(tables)
    if feature is not None and group is not None:
        partition = by_feature(tables, feature)
        if group not in partition.groups:
            raise FairnessError(f"{group!r} is not a group of {feature!r}")
        chosen = np.array([name == group for name in partition.groups])
        if suppressed_groups(partition, minimum_cell=minimum_cell)[chosen][0]:
            return None
        partition = partition.kept(chosen)
    score, rates, people = _coarse(partition, two_sided(confidence))
    there = people[0] > 0
    return Reliability(
        score=score[0][there],
        rate=rates.value[0][there],
        low=np.clip(rates.low[0][there], 0.0, 1.0),
        high=np.clip(rates.high[0][there], 0.0, 1.0),
        people=people[0][there],
        slack=float(np.diff(partition.bin_edges).max()) / 2.0,
    )


def _coarse(partition: Partition, z: float) -> tuple[FloatArray, Bands, FloatArray]:
    """Return mean score, rate of positives and people of each coarse bin, shape (G, coarse)."""
    from scipy.special import ndtr  # here: it takes half a second to import

    groups, _, bins = partition.scores.shape
    count = coarse_bins(bins)
    fine = bins // count
    people = partition.scores.sum(axis=1).reshape(groups, count, fine)
    edges = partition.bin_edges
    middles = ((edges[:-1] + edges[1:]) / 2.0).reshape(count, fine)
    inside = people.sum(axis=2)
    score = np.divide(
        (people * middles).sum(axis=2),
        inside,
        out=np.tile(middles.mean(axis=1), (groups, 1)),
        where=inside > 0,
    ).clip(middles[:, 0], middles[:, -1])
    blocks = partition.scores.reshape(groups, 2, count, fine).sum(axis=3)
    noise = np.tile(partition.score_noise.summed(fine), groups)
    at_once = each_of(count, float(2.0 * ndtr(z) - 1.0))
    flat = rate_bands(
        blocks[:, 1].ravel(),
        blocks[:, 0].ravel(),
        hits_noise=noise,
        misses_noise=noise,
        z=at_once,
    )
    rates = Bands(*(side.reshape(groups, count) for side in flat))
    return score, rates, np.maximum(blocks, 0.0).sum(axis=1)


def _score_limits(partition: Partition, score: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return between what the mean score of each coarse bin surely lies."""
    fine = partition.scores.shape[2] // score.shape[1]
    edges = partition.bin_edges[::fine]
    if partition.score_noise.variance == 0 and fine > 1:
        # A mean of bins' middles is as far from the scores' mean as half of its widest bin.
        widths = np.diff(partition.bin_edges).reshape(-1, fine)
        slack = np.broadcast_to(widths.max(axis=1) / 2.0, score.shape)
        return score - slack, score + slack
    # Noise may have moved the mean anywhere within the bin.
    return np.broadcast_to(edges[:-1], score.shape), np.broadcast_to(edges[1:], score.shape)
