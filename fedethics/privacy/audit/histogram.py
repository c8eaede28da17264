"""How sure the model is of each unit's true label, counted: what a membership attack looks at.

A model fits what it was trained on, so members have the higher probabilities. The loss is minus
the logarithm of the same number, so a threshold on one is a threshold on the other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def loss_histogram(
    sureness: NDArray[np.float64],
    *,
    units: NDArray[np.int64],
    bins: int,
) -> NDArray[np.int64]:
    """Return how many units lie in each of `bins` equal steps of their true label's probability.

    Guarantee: adding or removing one unit, with all of its records, changes one entry by one.
    Sensitive: no noise yet.

    Args:
        sureness: probability of each record's true label, in [0, 1], shape (n,).
        units: which unit each record belongs to, 0 to u - 1, shape (n,); a unit counts once, by
            the mean over its records.
        bins: steps of the unit interval.
    """
    records = np.bincount(units)
    mean = np.bincount(units, weights=sureness) / np.maximum(records, 1)
    step = np.clip((mean * bins).astype(np.int64), 0, bins - 1)
    return np.bincount(step[records > 0], minlength=bins).astype(np.int64)
