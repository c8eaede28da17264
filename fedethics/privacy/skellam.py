"""The Skellam distribution: its probabilities and its exact privacy loss.

Skellam(v) is the difference of two independent Poisson(v / 2) variables: integer, symmetric,
variance v. It is closed under addition, so shares of noise added by many sites are again Skellam.

Everything follows from the ratio of neighbouring probabilities, p(k) / p(k-1) = I_k(v) / I_{k-1}(v)
(I is the modified Bessel function of the first kind), by Gauss's continued fraction
`r_k = v / (2k + v r_{k+1})`: all terms positive, so the downward recursion loses no digits.

Sources: Skellam (1946); Agarwal, Kairouz and Liu (2021), "The Skellam Mechanism for Differentially
Private Federated Learning", arXiv 2110.04995.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedethics.errors import AccountingError
from fedethics.privacy.integer_loss import loss_distribution

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


def privacy_loss(std: float, *, interval: float, sensitivity: int = 1) -> Any:  # noqa: ANN401  untyped library object
    """Return the privacy loss distribution of adding Skellam(std^2) to a table.

    Guarantee: pessimistic; see `integer_loss.loss_distribution`.

    Args:
        std: standard deviation of the noise.
        interval: grid step of the loss.
        sensitivity: rows of one unit.
    """
    variance = std * std
    return loss_distribution(
        np.log(ratios(variance)),
        probabilities(variance),
        interval=interval,
        sensitivity=sensitivity,
    )
