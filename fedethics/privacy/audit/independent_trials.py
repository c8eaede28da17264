"""A lower bound on epsilon from an attack's successes over independent trials.

An (epsilon, delta)-private mechanism allows no attack with
`true positive rate > e^epsilon * false positive rate + delta`, nor the same for what the attack
says about non-members. Exact limits of both rates turn counts into a bound.

Sources: Jagielski, Ullman and Oprea (2020), arXiv 2006.07709; Nasr et al. (2021), arXiv 2101.04535;
limits: Clopper and Pearson (1934).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from scipy.special import betaincinv


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcomes:
    """What an attack with one threshold came to: each trial is independent of all others.

    Attributes:
        true_positives: members that the attack called members.
        members: trials with a member.
        false_positives: non-members that the attack called members.
        non_members: trials with a non-member.
    """

    true_positives: int
    members: int
    false_positives: int
    non_members: int


def epsilon_bound(outcomes: Iterable[Outcomes], *, delta: float, confidence: float = 0.95) -> float:
    """Return a lower bound on epsilon, the best over the thresholds tried; at least 0.

    Guarantee: for thresholds fixed before the trials, the bound is above the mechanism's true
    epsilon at `delta` with probability at most `1 - confidence`. The error is split evenly over
    the thresholds and over the two rates of each (Bonferroni), so that trying more of them is
    paid for.
    """
    tried = tuple(outcomes)
    if not tried:
        return 0.0
    error = (1.0 - confidence) / (2 * len(tried))
    return max(0.0, *(_of_one(one, delta, error) for one in tried))


def least_rate(successes: float, trials: float, error: float) -> float:
    """Return the lower limit of a rate, too high with probability at most `error`."""
    if successes <= 0:
        return 0.0
    return float(betaincinv(successes, trials - successes + 1, error))


def greatest_rate(successes: float, trials: float, error: float) -> float:
    """Return the upper limit of a rate, too low with probability at most `error`."""
    if successes >= trials:
        return 1.0
    return float(betaincinv(successes + 1, trials - successes, 1.0 - error))


def _of_one(one: Outcomes, delta: float, error: float) -> float:
    found = least_rate(one.true_positives, one.members, error)
    alarms = greatest_rate(one.false_positives, one.non_members, error)
    return max(_logarithm(found - delta, alarms), _logarithm(1.0 - alarms - delta, 1.0 - found))


def _logarithm(above: float, below: float) -> float:
    return math.log(above / below) if above > 0.0 < below else 0.0
