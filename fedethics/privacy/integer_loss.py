"""The privacy loss distribution of adding symmetric integer noise to a table that a unit changes.

A unit with m rows changes a table by 1 in up to m entries, or by m in one. The second is the worst:
one row alone costs the trade-off of noise against noise shifted by 1; m rows cost at most m such
steps one after another (group privacy, Dong, Roth and Su 2022, theorem 2.14); and for noise with
log-concave probabilities, as here, those steps together *are* noise against noise shifted by m,
because the same threshold test is the best one at each step.

Source: Doroshenko et al. (2022), "Connect the Dots", arXiv 2207.04380 (the rounding).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# A larger loss of one release counts as certain: no budget comes near it.
LARGEST_LOSS = 600.0


def loss_distribution(
    log_ratios: NDArray[np.float64],
    mass: NDArray[np.float64],
    *,
    interval: float,
    sensitivity: int = 1,
    slack: float = 0.0,
    certain: float = 0.0,
) -> Any:  # noqa: ANN401  untyped library object
    """Return the privacy loss distribution of one release.

    Guarantee: pessimistic. Each outcome, of probability P under one input and Q under its
    neighbour, is replaced by two outcomes on the grid with the same totals P and Q. Merging the two
    is post-processing, so the result dominates the mechanism. Outcomes beyond the reach count as
    certain loss. The noise is symmetric, so adding and removing a unit cost the same.

    Args:
        log_ratios: log p(k) / p(k-1) for k = 1 .. reach.
        mass: p(k) for k = -reach .. reach.
        interval: grid step of the loss.
        sensitivity: by how much a unit changes one entry, at least 1.
        slack: added to every loss.
        certain: probability of certain loss, on top of what lies beyond the reach.
    """
    from dp_accounting.pld import privacy_loss_distribution as pld

    # Noise k with the unit present is k + m without it: loss(k) = log p(k) - log p(k + m), whose
    # range is k = -reach .. reach - m; the last m outcomes have no partner within reach.
    steps = np.concatenate((log_ratios[::-1], -log_ratios))
    count = max(len(steps) - sensitivity + 1, 0)
    with np.errstate(invalid="ignore"):
        losses = sum((steps[i : i + count] for i in range(sensitivity)), np.zeros(count)) + slack
    losses = np.where(np.isnan(losses), np.inf, losses)
    beyond = float(mass[count:].sum() + mass[:count][losses > LARGEST_LOSS].sum() + certain)
    counted = (losses <= LARGEST_LOSS) & (mass[:count] > 0)
    losses, weights = losses[counted], mass[:count][counted]
    if not weights.size:
        return pld.PrivacyLossDistribution.create_from_rounded_probability({0: 0.0}, 1.0, interval)
    lower = np.floor(losses / interval)
    # Share of an outcome's mass that moves to the upper grid point, from keeping P and Q.
    upper_share = np.expm1(lower * interval - losses) / np.expm1(-interval)
    upper_share = np.clip(upper_share, 0.0, 1.0)
    first = int(lower.min())
    grid = np.zeros(int(lower.max()) - first + 2)
    at = lower.astype(np.int64) - first
    np.add.at(grid, at, weights * (1 - upper_share))
    np.add.at(grid, at + 1, weights * upper_share)
    return pld.PrivacyLossDistribution.create_from_rounded_probability(
        {first + i: float(weight) for i, weight in enumerate(grid) if weight > 0},
        min(beyond, 1.0),
        interval,
    )
