"""The discrete Gaussian distribution and the sum of its shares: their exact privacy loss.

N_Z(v) is the integer k with probability proportional to exp(-k^2 / (2v)); its variance is below v,
by less than 1e-7 from v = 1 on. It is *not* closed under addition: shares of noise from
h sites, each N_Z(v / h), add up to something else than N_Z(v). So the loss of a distributed release
rests on the distribution of the sum. Kairouz, Liu and Steinke bound how far it is from N_Z(v)
(`sum_divergence`); where that bound is below 1e-15, the loss is that of N_Z(v) plus the bound, and
elsewhere the sum's own probabilities are computed, by convolution.

More honest shares than h, or noise of colluders, are independent of the sum of h, so adding them is
post-processing. One entry of a table differs between neighbours, by one; the noise of the others
cancels in the loss, so the factor for the dimension in their theorems does not arise. Draws come
from `wide_gaussian.sample`.

Sources: Canonne, Kamath and Steinke (2020), "The Discrete Gaussian for Differential Privacy", arXiv
2004.00010; Kairouz, Liu and Steinke (2021), "The Distributed Discrete Gaussian Mechanism for
Federated Learning with Secure Aggregation", arXiv 2102.06387, theorem 13 (their tau).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedethics.errors import AccountingError
from fedethics.privacy.integer_loss import loss_distribution

MAXIMUM_STD = 1e5
# Below this divergence the sum of shares is taken for one draw, and the divergence added.
NEGLIGIBLE = 1e-15
# Far above what rounding can do to the logarithm of a sum of positive products.
_ROUNDING = 1e-9


def reach(variance: float) -> int:
    """Return K such that both tails beyond K together weigh less than 2^-128.

    Raises:
        AccountingError: variance not in (0, 1e10].
    """
    if not 0 < variance <= MAXIMUM_STD**2:
        raise AccountingError(
            f"discrete Gaussian variance {variance:g} is not in (0, {MAXIMUM_STD**2:g}]; "
            "change the evaluation epsilon or the ratios"
        )
    return math.ceil(14 * math.sqrt(variance)) + 2


def probabilities(variance: float) -> NDArray[np.float64]:
    """Return p(k) for k = -reach .. reach; they sum to 1 but for less than 2^-128."""
    k = np.arange(-reach(variance), reach(variance) + 1, dtype=np.float64)
    weights = np.exp(-k * k / (2 * variance))
    return np.asarray(weights / weights.sum())


def sum_probabilities(std: float, shares: int) -> NDArray[np.float64]:
    """Return p(k) of the sum of `shares` draws of N_Z(std^2 / shares), for |k| up to its reach.

    Every product in the convolution is positive and none is taken by Fourier transform, so also
    small probabilities keep their digits. The tails beyond the reach weigh less than 2^-128, since
    N_Z(v) is sub-Gaussian with v (Canonne et al.), and so the sum with std^2.
    """
    last = reach(std * std)
    found, power, left = np.ones(1), probabilities(std * std / shares), shares
    while left:
        if left % 2:
            found = _middle(np.convolve(found, power), last)
        left //= 2
        if left:
            power = _middle(np.convolve(power, power), last)
    return np.asarray(found / found.sum())


def sum_divergence(std: float, shares: int) -> float:
    """Return tau: |log p(k) / q(k)| <= tau, p the sum of shares and q = N_Z(std^2)."""
    per_share = std * std / shares
    return 10 * sum(math.exp(-2 * math.pi**2 * per_share * k / (k + 1)) for k in range(1, shares))


def privacy_loss(std: float, *, shares: int, interval: float, sensitivity: int = 1) -> Any:  # noqa: ANN401
    """Return the privacy loss distribution of adding `shares` shares to a table.

    Guarantee: pessimistic; see `integer_loss.loss_distribution`.

    Args:
        std: each share is N_Z(std^2 / shares).
        shares: honest sites whose draws stay in the sum; 1 for one draw of N_Z(std^2).
        interval: grid step of the loss.
        sensitivity: rows of one unit.
    """
    divergence = sum_divergence(std, shares)
    if divergence > NEGLIGIBLE:
        mass = sum_probabilities(std, shares)
        with np.errstate(divide="ignore", invalid="ignore"):
            log_ratios = np.diff(np.log(mass[len(mass) // 2 :]))
        return loss_distribution(
            log_ratios, mass, interval=interval, sensitivity=sensitivity, slack=_ROUNDING
        )
    mass = probabilities(std * std)
    log_ratios = (1 - 2 * np.arange(1, len(mass) // 2 + 1)) / (2 * std * std)
    # delta_p(eps) <= e^tau delta_q(eps - 2 tau), and e^tau - 1 <= 2 tau.
    slack = 2 * divergence
    return loss_distribution(
        log_ratios, mass, interval=interval, sensitivity=sensitivity, slack=slack, certain=slack
    )


def _middle(mass: NDArray[np.float64], last: int) -> NDArray[np.float64]:
    """Return the middle 2 * last + 1 entries, or all if there are fewer."""
    middle = len(mass) // 2
    return mass[max(0, middle - last) : middle + last + 1]
