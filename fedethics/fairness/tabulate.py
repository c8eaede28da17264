"""At the site: held-out predictions become integer counts, and only these go on.

The tables hold one site's numbers. They leave the site masked, inside secure aggregation, and with
their share of noise; this module adds neither and must not be used to send anything by itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedethics.errors import FairnessError
from fedethics.fairness.layout import Layout


def tabulate(
    layout: Layout, *, groups: ArrayLike, labels: ArrayLike, scores: ArrayLike
) -> NDArray[np.int64]:
    """Return one site's counts and histogram, shape (layout.tables_length,), counts first.

    Guarantee: adding or removing one record changes one entry of each block by 1.

    Args:
        layout: the charter's layout.
        groups: (n, num_features) integer group indices, features in declared order.
        labels: (n,) true labels, 0 or 1.
        scores: (n,) predicted probabilities of label 1, in [0, 1].

    Raises:
        FairnessError: unequal lengths, a label other than 0 or 1, a score that is not a number in
            [0, 1], a group index that was not declared. Says how many records, never which.
    """
    label, score = _checked(labels, scores)
    cell = _cells(layout, np.asarray(groups), len(label))
    predicted = score >= layout.threshold
    counts = np.bincount(cell * 4 + label * 2 + predicted, minlength=layout.counts_length)
    edges = np.arange(layout.bins + 1) / layout.bins
    # A score on an edge belongs to the bin above it; a score of exactly 1 to the last bin.
    score_bin = np.minimum(np.searchsorted(edges, score, side="right") - 1, layout.bins - 1)
    coarse = _coarse(layout, cell)
    entry = (coarse * 2 + label) * layout.bins + score_bin
    histogram = np.bincount(entry, minlength=layout.histogram_length)
    return np.concatenate([counts, histogram]).astype(np.int64)


def tabulate_progress(layout: Layout, *, labels: ArrayLike, scores: ArrayLike) -> NDArray[np.int64]:
    """Return counts[y, yhat] without groups, shape (4,), for the metrics of one round.

    Guarantee: adding or removing one record changes one entry by 1.

    Raises:
        FairnessError: as `tabulate`.
    """
    label, score = _checked(labels, scores)
    counts = np.bincount(label * 2 + (score >= layout.threshold), minlength=4)
    return counts.astype(np.int64)


def _checked(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    label, score = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if label.ndim != 1 or score.shape != label.shape:
        raise FairnessError(
            f"labels of shape {label.shape} and scores of shape {score.shape}: both must be (n,)"
        )
    _refuse((label != 0) & (label != 1), "labels are neither 0 nor 1")
    _refuse(np.isnan(score), "scores are not a number")
    _refuse((score < 0.0) | (score > 1.0), "scores are outside [0, 1]")
    return label.astype(np.int64), score


def _cells(layout: Layout, groups: NDArray[Any], records: int) -> NDArray[np.int64]:
    if groups.shape != (records, len(layout.features)):
        raise FairnessError(
            f"group indices of shape {groups.shape}: expected ({records}, {len(layout.features)})"
        )
    if records and not np.issubdtype(groups.dtype, np.integer):
        raise FairnessError(f"group indices are {groups.dtype}, expected integers")
    for column, feature in enumerate(layout.features):
        index = groups[:, column]
        undeclared = (index < 0) | (index >= len(feature.groups))
        _refuse(undeclared, f"group indices of {feature.name!r} are not among its declared groups")
    indices = groups.astype(np.int64)
    cell: NDArray[np.int64] = np.zeros(records, dtype=np.int64)
    for column, size in enumerate(layout.shape):
        cell = cell * size + indices[:, column]
    return cell


def _coarse(layout: Layout, cell: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return each record's histogram cell from its cell."""
    indices = np.unravel_index(cell, layout.shape)
    coarse: NDArray[np.int64] = np.zeros(len(cell), dtype=np.int64)
    for axis in layout.histogram_axes:
        coarse = coarse * layout.shape[axis] + indices[axis]
    return coarse


def _refuse(wrong: NDArray[np.bool_], what: str) -> None:
    # Sensitive: the count alone; an index or a value would tell of one record.
    if wrong.any():
        raise FairnessError(
            f"{int(wrong.sum())} of {wrong.size} {what}; nothing was tabulated or sent. "
            "Correct the data or the charter's declaration"
        )
