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
from fedethics.fairness.measured import Targets, refuse_outside, refuse_some


def tabulate(
    layout: Layout, *, groups: ArrayLike, labels: ArrayLike, scores: ArrayLike
) -> NDArray[np.int64]:
    """Return one site's counts and histogram, shape (layout.tables_length,), counts first.

    Guarantee: adding or removing one record changes one entry of each block by 1, whatever the
    task's measure says of it.

    Args:
        layout: the charter's layout, with what its task measures.
        groups: (n, num_features) integer group indices, features in declared order.
        labels: (n,) numbers of the records' targets.
        scores: (n,) or (n, columns), what the model answers, as the measure reads it.

    Raises:
        FairnessError: unequal lengths, a target or score that the measure does not know, a group
            index that was not declared. Says how many records, never which.
    """
    found = _read(layout, labels, scores)
    measured = layout.measured
    cell = _cells(layout, np.asarray(groups), len(found.target))
    entry = cell * measured.entries + _entries(layout, found)
    counts = np.bincount(entry, minlength=layout.counts_length)
    edges = np.arange(layout.bins + 1) / layout.bins
    # A score on an edge belongs to the bin above it; a score of exactly 1 to the last bin.
    score_bin = np.minimum(np.searchsorted(edges, found.score, side="right") - 1, layout.bins - 1)
    row = found.target if measured.rows > 1 else np.zeros_like(found.target)
    place = (_coarse(layout, cell) * measured.rows + row) * layout.bins + score_bin
    histogram = np.bincount(place, minlength=layout.histogram_length)
    return np.concatenate([counts, histogram]).astype(np.int64)


def tabulate_progress(layout: Layout, *, labels: ArrayLike, scores: ArrayLike) -> NDArray[np.int64]:
    """Return counts[target, decision] without groups, for the metrics of one round.

    Guarantee: adding or removing one record changes one entry by 1.

    Raises:
        FairnessError: as `tabulate`.
    """
    found = _read(layout, labels, scores)
    counts = np.bincount(_entries(layout, found), minlength=layout.progress_length)
    return counts.astype(np.int64)


def _entries(layout: Layout, found: Targets) -> NDArray[np.int64]:
    entries: NDArray[np.int64] = found.target * layout.measured.decisions[1] + found.decision
    return entries


def _read(layout: Layout, labels: ArrayLike, scores: ArrayLike) -> Targets:
    """Return the records as the measure reads them, and refuse a measure that counts one twice."""
    found = layout.measured.read(labels, scores, threshold=layout.threshold)
    targets, decisions = layout.measured.decisions
    for name, numbers, most in (
        ("target", found.target, targets), ("decision", found.decision, decisions)
    ):  # fmt: skip
        if numbers.shape != found.score.shape or numbers.ndim != 1:
            raise FairnessError(
                f"the task's measure gives a {name} of shape {numbers.shape} for "
                f"{len(found.score)} records: one for each; nothing was tabulated or sent"
            )
        refuse_some((numbers < 0) | (numbers >= most), f"{name}s are none that the task measures")
    refuse_outside(found.score)
    return found


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
        refuse_some(
            undeclared, f"group indices of {feature.name!r} are not among its declared groups"
        )
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
