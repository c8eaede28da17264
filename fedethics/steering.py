"""How a charter steers training between groups: from opened counts to weights, by one rule for all.

A pure function of the charter and of sums that every site was told, so that sites, coordinator,
simulations and the report compute the same weights without trusting one another.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedethics import charter_sums
from fedethics.charter.model import Charter
from fedethics.data.records import Targets
from fedethics.fairness.layout import INTERSECTION
from fedethics.fairness.mitigation import GroupWeights, Steering, first_weights, next_weights


def steering_of(charter: Charter) -> Steering | None:
    """Return the charter's terms for weights, or None where every record weighs the same."""
    terms = charter.mitigation
    if terms.method == "none":
        return None
    return Steering(rule=terms.method, step=terms.step, most=terms.most)


def group_weights(
    charter: Charter, sums: Sequence[NDArray[np.int64]], *, variance: float
) -> GroupWeights:
    """Return the weights after these opened counts, oldest first.

    Args:
        charter: with a mitigation method.
        sums: each flat [group, label, prediction], with noise.
        variance: of the noise on each entry.
    """
    groups, steering = charter_sums.steering_groups(charter), steering_of(charter)
    weights = first_weights(groups)
    if steering is not None:
        for total in sums:
            counts = total.reshape(groups, 2, 2)
            weights = next_weights(weights, counts, variance=variance, steering=steering)
    return weights


def steered_groups(charter: Charter, groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return each record's group of the steered feature or intersection, shape (n,).

    Args:
        charter: with a mitigation method.
        groups: index into each sensitive feature's groups, shape (n, features).
    """
    names = [feature.name for feature in charter.data.sensitive]
    index: NDArray[np.int64] = np.zeros(len(groups), dtype=np.int64)
    for name in charter.mitigation.feature.split(INTERSECTION):
        column = names.index(name)
        index = index * len(charter.data.sensitive[column].groups) + groups[:, column]
    return index


def count_groups(
    charter: Charter,
    *,
    groups: NDArray[np.int64],
    labels: Targets,
    scores: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Return counts[group, label, prediction] of a site's records, flat. Sensitive: no noise yet.

    Guarantee: a record touches one entry.
    """
    predicted = scores >= charter.privacy.evaluation.threshold
    entry = steered_groups(charter, groups) * 4 + labels * 2 + predicted
    return np.bincount(entry, minlength=4 * charter_sums.steering_groups(charter)).astype(np.int64)
