"""What a simulated round learns from the training records first: counts, weights, losses.

Counts and weights are made by the functions that sites use, with the noise of the charter's plan;
only the secure sum is a plain one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fedethics import charter_sums
from fedethics.charter.model import Charter
from fedethics.data.records import Records
from fedethics.privacy.noise import NoiseSource
from fedethics.privacy.plan import PrivacyPlan
from fedethics.steering import count_groups, group_weights, steered_groups

Scores = Mapping[str, NDArray[np.float64]]


def counts_before(
    charter: Charter,
    parts: Mapping[str, Records],
    sources: Mapping[str, NoiseSource],
    plan: PrivacyPlan,
    number: int,
    scores: Scores,
) -> NDArray[np.int64]:
    """Return the sum of the sites' counts before a round, each with its noise."""
    total = np.zeros(4 * charter_sums.steering_groups(charter), dtype=np.int64)
    for site, part in parts.items():
        total += count_groups(charter, groups=part.groups, labels=part.labels, scores=scores[site])
        if plan.count_mechanism is not None and plan.steering.noise.std:
            total += plan.count_mechanism.draw(
                sources[site].derive(f"steering/{number}"),
                variance=plan.steering.noise.site_variance,
                size=total.size,
            )
    return total


def weights_of(
    charter: Charter,
    parts: Mapping[str, Records],
    plan: PrivacyPlan,
    counted: Sequence[NDArray[np.int64]],
) -> Mapping[str, NDArray[np.float64] | None]:
    """Return each site's record weights after the sums so far; None where nothing steers."""
    if not counted:
        return dict.fromkeys(parts)
    table = group_weights(charter, counted, variance=plan.steering.noise.sum_variance)
    return {
        site: table.of(steered_groups(charter, part.groups), part.labels)
        for site, part in parts.items()
    }


def losses(parts: Mapping[str, Records], scores: Scores) -> dict[str, float]:
    """Return each site's mean log loss on its training records, which only a simulation may see."""
    return {
        site: float(
            -np.log(
                np.clip(np.where(part.labels == 1, scores[site], 1.0 - scores[site]), 1e-7, 1.0)
            ).mean()
        )
        for site, part in parts.items()
    }
