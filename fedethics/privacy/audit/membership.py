"""What two opened, noised histograms say of a membership attack on the model that left them.

The attack calls a unit a member where the model gives its true label at least some probability
(Yeom et al. 2018, arXiv 1709.01604). It is an average-case attack on one model: a stronger one may
do better, so small figures prove nothing. Its figures are read as Carlini et al. 2022 (arXiv
2112.03570) ask: by true positives at few false ones, beside the area.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from fedethics.fairness.auc import area_bands
from fedethics.fairness.estimate import Estimate, estimated
from fedethics.fairness.partition import Partition
from fedethics.fairness.rates import cut_values
from fedethics.privacy.accounting import attack_bound
from fedethics.privacy.audit import one_run
from fedethics.privacy.audit.independent_trials import greatest_rate, least_rate

FALSE_ALARMS = (0.01, 0.10)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Opened:
    """The opened histograms, lowest probability of the true label first, shape (bins,) each.

    Attributes:
        members, non_members: noised counts of units.
        member_variance, non_member_variance: of the noise in each entry.
    """

    members: NDArray[np.int64]
    non_members: NDArray[np.int64]
    member_variance: float
    non_member_variance: float

    @property
    def bins(self) -> int:
        """Number of steps of the unit interval."""
        return len(self.members)


@dataclass(frozen=True, kw_only=True, slots=True)
class Caught:
    """Members found at one rate of false alarms, and the most that the promise allows."""

    false_alarms: float
    found: Estimate
    allowed: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Audit:
    """What the attack came to.

    Attributes:
        members, non_members: noised numbers of units.
        area: area under the attack's ROC curve, 0.5 for guessing, with an interval.
        false_alarms, found: the curve at every edge between bins, from 0 to 1; empty if undefined.
        caught: members found at `FALSE_ALARMS`.
        epsilon: lower bound on the true epsilon, at `confidence`; 0 if nothing was shown.
        reach: what `epsilon` would have come to, had the attack made no mistake at all.
    """

    members: float
    non_members: float
    area: Estimate
    false_alarms: tuple[float, ...]
    found: tuple[float, ...]
    caught: tuple[Caught, ...]
    epsilon: float
    reach: float
    confidence: float


def audit_membership(
    opened: Opened, *, prior: float, epsilon: float, delta: float, confidence: float = 0.95
) -> Audit:
    """Attack by every threshold between bins, and say what that proves.

    Guarantee: `Audit.epsilon` is above the mechanism's true epsilon at `delta` with probability at
    most `1 - confidence`, over who was drawn into the training data and over the noise; the error
    is split evenly over all thresholds and both directions.

    Args:
        opened: the sums over all sites.
        prior: probability with which the charter's split makes a unit a member.
        epsilon: what was promised; infinite without DP.
        delta: at which it was promised.
        confidence: of every interval and bound.
    """
    curve = _curve(opened)
    return Audit(
        members=float(opened.members.sum()),
        non_members=float(opened.non_members.sum()),
        area=_area(opened, confidence),
        false_alarms=tuple(map(float, curve[0])),
        found=tuple(map(float, curve[1])),
        caught=tuple(
            Caught(
                false_alarms=rate,
                found=_found_at(opened, curve, rate, confidence),
                allowed=attack_bound(epsilon, delta, rate),
            )
            for rate in FALSE_ALARMS
        ),
        epsilon=_epsilon(opened, prior=prior, delta=delta, confidence=confidence),
        reach=_epsilon(_faultless(opened), prior=prior, delta=delta, confidence=confidence),
        confidence=confidence,
    )


def _faultless(opened: Opened) -> Opened:
    """Return the histograms of an attack that is always right, under the same noise."""
    half = opened.bins // 2
    members, non_members = np.zeros((2, opened.bins), dtype=np.int64)
    members[half:] = max(0, int(opened.members.sum())) // (opened.bins - half)
    non_members[:half] = max(0, int(opened.non_members.sum())) // half
    return Opened(
        members=members,
        non_members=non_members,
        member_variance=opened.member_variance,
        non_member_variance=opened.non_member_variance,
    )


def _curve(opened: Opened) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    sides = tuple(_share_above(side) for side in (opened.non_members, opened.members))
    if not all(side.size for side in sides):
        return np.empty(0), np.empty(0)
    return sides[0], sides[1]


def _share_above(histogram: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the share at or above each edge, from the top; noise is smoothed to be monotone."""
    from scipy.optimize import isotonic_regression  # here: it takes half a second to import

    total = histogram.sum()
    if total <= 0:
        return np.empty(0)
    rising = np.concatenate([[0.0], np.cumsum(histogram[::-1]) / total])
    fitted: NDArray[np.float64] = np.clip(isotonic_regression(rising).x, 0.0, 1.0)
    fitted[0], fitted[-1] = 0.0, 1.0
    return fitted


def _area(opened: Opened, confidence: float) -> Estimate:
    both = np.stack([opened.non_members, opened.members]).astype(np.float64)
    totals = both.sum(axis=1)
    partition = Partition(
        groups=("everyone",),
        shape=(1,),
        counts=np.array([[[totals[0], 0.0], [0.0, totals[1]]]]),
        histogram=both[None],
        counts_variance=0.0,
        # One number for both: the larger, so that the interval is never too narrow.
        histogram_variance=max(opened.member_variance, opened.non_member_variance),
    )
    bands = area_bands(partition, z=float(ndtri(0.5 + confidence / 2)))
    return estimated(
        float(bands.value[0]),
        max(0.0, float(bands.low[0])),
        min(1.0, float(bands.high[0])),
        confidence=confidence,
        cut=bool(cut_values(partition, "roc_auc_score", bands.value)[0]),
    )


def _found_at(
    opened: Opened,
    curve: tuple[NDArray[np.float64], NDArray[np.float64]],
    rate: float,
    confidence: float,
) -> Estimate:
    """Return the members found at a rate of false alarms; the limits hold at all edges at once."""
    low, high = 0.0, 1.0
    error = (1.0 - confidence) / (4 * (opened.bins - 1))
    for edge in range(1, opened.bins):
        alarms = _limits(opened.non_members, opened.non_member_variance, edge, error)
        found = _limits(opened.members, opened.member_variance, edge, error)
        if alarms[1] <= rate:
            low = max(low, found[0])
        if alarms[0] >= rate:
            high = min(high, found[1])
    value = float(np.interp(rate, *curve)) if curve[0].size else math.nan
    return Estimate(value=value, low=low, high=high, confidence=confidence)


def _limits(
    histogram: NDArray[np.int64], variance: float, edge: int, error: float
) -> tuple[float, float]:
    """Return the limits of the share at or above an edge, each wrong with at most `error`."""
    above, below = float(histogram[edge:].sum()), float(histogram[:edge].sum())
    slack_above, slack_below = (
        _slack(variance, bins, error / 4) for bins in (len(histogram) - edge, edge)
    )
    least = (max(0.0, above - slack_above), max(0.0, below + slack_below))
    most = (max(0.0, above + slack_above), max(0.0, below - slack_below))
    return (
        least_rate(least[0], sum(least), error / 2),
        greatest_rate(most[0], sum(most), error / 2),
    )


def _slack(variance: float, bins: int, error: float) -> float:
    """Return what the noise in a sum of bins exceeds with probability at most `error`.

    By the normal distribution: sums of integer noise of such variance differ from it by a few per
    cent of the error at most.
    """
    return float(-ndtri(error)) * math.sqrt(bins * variance)


def _epsilon(opened: Opened, *, prior: float, delta: float, confidence: float) -> float:
    """Return the best bound over all edges, each taken from above and from below."""
    error = (1.0 - confidence) / (2 * (opened.bins - 1))
    best = 0.0
    for edge in range(1, opened.bins):
        for guesses in _named(opened, edge, prior=prior, error=error / 2):
            if one_run.refuted(guesses, epsilon=best, delta=delta, error=error / 2):
                best = one_run.epsilon_bound(guesses, delta=delta, error=error / 2)
    return best


def _named(
    opened: Opened, edge: int, *, prior: float, error: float
) -> tuple[one_run.Guesses, one_run.Guesses]:
    """Return what naming members above an edge, and non-members below it, is right in at least.

    With probability `1 - error` for each, the noise hides no more than what is taken off here.
    """
    bins = opened.bins
    sides = (
        (opened.members[edge:], opened.member_variance),
        (opened.non_members[edge:], opened.non_member_variance),
    )
    other = (
        (opened.non_members[:edge], opened.non_member_variance),
        (opened.members[:edge], opened.member_variance),
    )
    everyone = float(opened.members.sum() + opened.non_members.sum())
    spread = opened.member_variance + opened.non_member_variance
    units = math.ceil(max(0.0, everyone) + _slack(spread, bins, error / 3))
    found = []
    for (right, wrong), chance in ((sides, prior), (other, 1.0 - prior)):
        correct = right[0].sum() - _slack(right[1], len(right[0]), error / 3)
        mistaken = wrong[0].sum() + _slack(wrong[1], len(wrong[0]), error / 3)
        hits = max(0, math.floor(correct))
        found.append(
            one_run.Guesses(
                correct=hits,
                guesses=hits + max(0, math.ceil(mistaken)),
                units=max(units, 1),
                prior=chance,
            )
        )
    return found[0], found[1]
