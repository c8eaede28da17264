"""The Skellam distribution: its probabilities and its exact privacy loss.

Skellam(v) is the difference of two independent Poisson(v / 2) variables: integer, symmetric,
variance v. It is closed under addition, so shares of noise added by many sites are again Skellam.

Everything follows from the ratio of neighbouring probabilities, p(k) / p(k-1) = I_k(v) / I_{k-1}(v)
(I is the modified Bessel function of the first kind), by Gauss's continued fraction
`r_k = v / (2k + v r_{k+1})`: all terms positive, so the downward recursion loses no digits.

Sources: Skellam (1946); Agarwal, Kairouz and Liu (2021), "The Skellam Mechanism for Differentially
Private Federated Learning", arXiv 2110.04995; Doroshenko et al. (2022), "Connect the Dots", arXiv
2207.04380 (the rounding below).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedethics.errors import AccountingError

MAXIMUM_STD = 1e5


def reach(variance: float) -> int:
    """Return K such that both tails beyond K together weigh less than 2^-128."""
    if not 0 < variance <= MAXIMUM_STD**2:
        raise AccountingError(
            f"Skellam variance {variance:g} is not in (0, {MAXIMUM_STD**2:g}]; "
            "change the evaluation epsilon or the ratios"
        )
    return math.ceil(14 * math.sqrt(variance)) + 60


def burn_in(variance: float) -> int:
    """Return how far beyond the reach the recursion starts, so that its start is forgotten."""
    return math.ceil(6 * math.sqrt(variance)) + 200


def ratios(variance: float) -> NDArray[np.float64]:
    """Return p(k) / p(k-1) for k = 1 .. reach, each below 1 and decreasing."""
    last = reach(variance)
    found = np.empty(last)
    ratio = 0.0
    for k in range(last + burn_in(variance), 0, -1):
        ratio = variance / (2 * k + variance * ratio)
        if k <= last:
            found[k - 1] = ratio
    return found


def probabilities(variance: float) -> NDArray[np.float64]:
    """Return p(k) for k = -reach .. reach; they sum to 1 but for less than 2^-128."""
    right = np.cumprod(ratios(variance))
    full = np.concatenate((right[::-1], [1.0], right))
    return np.asarray(full / full.sum())


def privacy_loss(std: float, *, interval: float) -> Any:  # noqa: ANN401  untyped library object
    """Return the privacy loss distribution of adding Skellam(std^2) to an integer of sensitivity 1.

    Guarantee: pessimistic. Each outcome, of probability P under one input and Q under its
    neighbour, is replaced by two outcomes on the grid with the same totals P and Q. Merging the two
    is post-processing, so the result dominates the mechanism. Outcomes beyond the reach count as
    certain loss. The mechanism is symmetric, so adding and removing a unit cost the same.

    Args:
        std: standard deviation of the noise.
        interval: grid step of the loss.
    """
    from dp_accounting.pld import privacy_loss_distribution as pld

    variance = std * std
    log_ratios = np.log(ratios(variance))
    mass = probabilities(variance)
    # Noise k with the unit present is k + 1 without it: loss(k) = log p(k) - log p(k + 1), whose
    # range is k = -reach .. reach - 1; the last outcome has no partner within reach.
    losses = np.concatenate((log_ratios[::-1], -log_ratios))
    lower = np.floor(losses / interval)
    # Share of an outcome's mass that moves to the upper grid point, from keeping P and Q.
    upper_share = np.expm1(lower * interval - losses) / np.expm1(-interval)
    upper_share = np.clip(upper_share, 0.0, 1.0)
    first = int(lower.min())
    grid = np.zeros(int(lower.max()) - first + 2)
    at = lower.astype(np.int64) - first
    np.add.at(grid, at, mass[:-1] * (1 - upper_share))
    np.add.at(grid, at + 1, mass[:-1] * upper_share)
    return pld.PrivacyLossDistribution.create_from_rounded_probability(
        {first + i: float(weight) for i, weight in enumerate(grid) if weight > 0},
        float(mass[-1]),
        interval,
    )
