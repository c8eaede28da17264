"""At the site: held-out predictions become integer counts, and only these go on.

The tables hold one site's numbers. They leave the site masked, inside secure aggregation, and with
their share of noise; this module adds neither and must not be used to send anything by itself.

`tabulate_explanation` does the same with how held-out scores change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedethics.errors import FairnessError
from fedethics.fairness.explained import Explained, FloatArray
from fedethics.fairness.layout import Layout
from fedethics.fairness.measured import Targets, refuse_outside, refuse_some


def tabulate(
    layout: Layout, *, groups: ArrayLike, labels: ArrayLike, scores: ArrayLike
) -> NDArray[np.int64]:
    """Return one site's count and score blocks, shape (layout.tables_length,), counts first.

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
    inside = _entries(layout, found)
    counts = [
        np.bincount(
            _within(layout, cell, axes) * measured.entries + inside,
            minlength=layout.cells(axes) * measured.entries,
        )
        for axes in layout.count_blocks
    ]
    row = found.target if measured.rows > 1 else np.zeros_like(found.target)
    crossed = _binned(
        _within(layout, cell, layout.histogram_axes) * measured.rows + row,
        found.score,
        edges=layout.coarse_edges,
        rows=layout.histogram_cells * measured.rows,
    )
    fine = [_binned(row, found.score, edges=layout.fine_edges, rows=measured.rows)]
    blocks = [*counts, crossed, *(fine if layout.nested else [])]
    return np.concatenate(blocks).astype(np.int64)


def _binned(
    row: NDArray[np.int64], score: FloatArray, *, edges: tuple[float, ...], rows: int
) -> NDArray[np.int64]:
    """Return how many scores lie in each bin of each row, flat."""
    bins = len(edges) - 1
    # A score on an edge belongs to the bin above it; a score of exactly 1 to the last bin.
    place = np.minimum(np.searchsorted(np.array(edges), score, side="right") - 1, bins - 1)
    return np.bincount(row * bins + place, minlength=rows * bins)


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


def _within(layout: Layout, cell: NDArray[np.int64], axes: tuple[int, ...]) -> NDArray[np.int64]:
    """Return each record's cell in a block that is crossed with the features at these positions."""
    indices = layout.groups_of(cell)
    found: NDArray[np.int64] = np.zeros(len(cell), dtype=np.int64)
    for axis in axes:
        found = found * layout.shape[axis] + indices[:, axis]
    return found


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
    by = groups[:, names.index(explained.by.name)] if explained.by else np.zeros(len(groups), int)
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
