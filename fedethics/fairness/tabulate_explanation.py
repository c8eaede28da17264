"""At the site: how held-out scores change, summed as integers, and only these go on.

The sums hold one site's numbers. They leave the site masked and with their share of noise; this
module adds neither.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fedethics.errors import FairnessError
from fedethics.fairness.explained import Explained, FloatArray
from fedethics.fairness.layout import Layout


def tabulate_explanation(
    layout: Layout,
    *,
    groups: NDArray[np.int64],
    scores: FloatArray,
    occluded: Mapping[str, FloatArray],
    swapped: Mapping[str, FloatArray],
) -> NDArray[np.int64]:
    """Return one site's sums of changes, shape (layout.explained.length,).

    Guarantee: adding or removing one record changes at most `explained.changes` entries of effects
    and shifts, each by at most `explained.steps`, and one entry of each feature's flips by at most
    1; no other record's part depends on it.

    Args:
        layout: the charter's layout.
        groups: (n, num_features) group indices, features in declared order.
        scores: (n,) scores of the records as they are, in [0, 1].
        occluded: for each explained column, (n,) scores with its phrase left out.
        swapped: for each swapped feature, (n, others) scores with the word of each other group.

    Raises:
        FairnessError: scores are missing, of another shape, or not numbers in [0, 1].
    """
    explained = layout.explained
    names = [feature.name for feature in layout.features]
    wanted = {*explained.columns, *(feature.name for feature in explained.swaps)}
    _checked(scores, len(groups), "the records")
    if wanted != {*occluded, *swapped}:
        raise FairnessError(
            f"changed scores of {sorted({*occluded, *swapped})}, the layout asks for "
            f"{sorted(wanted)}; nothing was tabulated"
        )
    by = groups[:, names.index(explained.by.name)] if explained.by else np.zeros_like(groups[:, 0])
    effects, shifts, flips = [], [], []
    for column in explained.columns:
        changed = _checked(occluded[column], len(groups), column)
        steps = _steps(np.abs(changed - scores), explained)
        effects.append(_summed(by, steps, explained.groups))
    for feature in explained.swaps:
        own = groups[:, names.index(feature.name)]
        changed = _checked(swapped[feature.name], len(groups), feature.name)
        shift, flip = _swap(layout, scores, changed)
        rose = shift > 0
        steps = _steps(np.abs(shift), explained)
        shifts.append(_summed(own * 2 + rose, steps, 2 * len(feature.groups)))
        predicted = scores >= layout.threshold
        flips.append(_summed(own * 2 + predicted, flip.astype(np.int64), 2 * len(feature.groups)))
    blocks = [*effects, *shifts, *flips]
    return np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.int64)


def _swap(
    layout: Layout, scores: FloatArray, changed: FloatArray
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return each record's largest change over the other groups, and whether any word flips it."""
    difference = changed - scores[:, None]
    largest = np.abs(difference).argmax(axis=1)[:, None]
    shift: FloatArray = np.take_along_axis(difference, largest, axis=1)[:, 0]
    predicted = scores >= layout.threshold
    flip: NDArray[np.bool_] = ((changed >= layout.threshold) != predicted[:, None]).any(axis=1)
    return shift, flip


def _steps(change: FloatArray, explained: Explained) -> NDArray[np.int64]:
    counted = np.minimum(change / explained.largest_change, 1.0)
    steps: NDArray[np.int64] = np.rint(counted * explained.steps).astype(np.int64)
    return steps


def _summed(entry: NDArray[np.int64], amount: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    total = np.zeros(length, dtype=np.int64)
    np.add.at(total, entry, amount)
    return total


def _checked(scores: FloatArray, records: int, whose: str) -> FloatArray:
    # Sensitive: a message says how many, never which.
    if scores.ndim not in (1, 2) or len(scores) != records:
        raise FairnessError(f"scores of shape {scores.shape} for {records} records ({whose})")
    wrong = ~((scores >= 0.0) & (scores <= 1.0))
    if wrong.any():
        raise FairnessError(
            f"{int(wrong.sum())} scores ({whose}) are not numbers in [0, 1]; nothing was tabulated "
            "or sent"
        )
    return scores
