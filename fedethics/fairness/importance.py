"""How much the score relies on each column: the mean change when its phrase is left out.

Occlusion (Zeiler and Fergus 2014, section 4.2; for text Li et al. 2016, "Understanding Neural
Networks through Representation Erasure"). It says what this model reacts to when a phrase is
missing, which it may never have seen missing; two columns that say the same can each look
unimportant; and it is no cause in the world.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from fedethics.errors import FairnessError
from fedethics.fairness.estimate import (
    Bands,
    Estimate,
    bounded_mean,
    checked_confidence,
    estimated,
    two_sided,
)
from fedethics.fairness.explained import Explanation
from fedethics.fairness.gaps import largest_difference
from fedethics.fairness.layout import Tables
from fedethics.fairness.partition import (
    MINIMUM_CELL,
    BoolArray,
    Partition,
    by_feature,
    everyone,
    suppressed_groups,
    suppression_reason,
)


def importance(tables: Tables, *, confidence: float = 0.95) -> dict[str, Estimate]:
    """Return each column's importance over everyone, in the order of the text.

    Raises:
        FairnessError: no columns were left out; invalid confidence.
    """
    found = _effects(tables)
    groups = found.effects.shape[1]
    whole, z = everyone(tables), two_sided(checked_confidence(confidence))
    bands = bounded_mean(
        found.effects.sum(axis=1),
        np.broadcast_to(whole.sizes, len(found.effects)).copy(),
        total_noise=found.effects_variance * groups,
        people_noise=whole.size_variance,
        most=found.layout.largest_change,
        z=z,
        step=found.step,
    )
    return {
        column: _estimate(bands, index, found, confidence)
        for index, column in enumerate(found.layout.columns)
    }


def importance_by_group(
    tables: Tables, *, confidence: float = 0.95, minimum_cell: int = MINIMUM_CELL
) -> dict[str, dict[str, Estimate]]:
    """Return each column's importance in each group of the feature that it was summed by.

    Empty where the sums are of everyone together. A group too small to show has no value; the note
    says so.

    Raises:
        FairnessError: no columns were left out; invalid confidence.
    """
    found = _effects(tables)
    if found.layout.by is None:
        return {}
    partition, hidden = _groups(tables, found, minimum_cell)
    z = two_sided(checked_confidence(confidence))
    result = {}
    for index, column in enumerate(found.layout.columns):
        bands = _bands(partition, found, index, z=z)
        result[column] = {
            group: _withheld(found, confidence, minimum_cell)
            if hidden[place]
            else _estimate(bands, place, found, confidence)
            for place, group in enumerate(partition.groups)
        }
    return result


def importance_gaps(
    tables: Tables, *, confidence: float = 0.95, minimum_cell: int = MINIMUM_CELL
) -> dict[str, Estimate]:
    """Return, for each column, the largest difference of its importance between shown groups.

    Raises:
        FairnessError: no columns were left out; invalid confidence.
    """
    found = _effects(tables)
    if found.layout.by is None:
        return {}
    partition, hidden = _groups(tables, found, minimum_cell)
    checked_confidence(confidence)
    shown = ~hidden & (partition.sizes > 0)
    result = {}
    for index, column in enumerate(found.layout.columns):
        value, low, high = math.nan, 0.0, found.layout.largest_change
        if shown.sum() >= 2:
            bands = partial(_bands, partition, found, index, keep=shown)
            value, low, high = largest_difference(bands, int(shown.sum()), confidence, confidence)
        result[column] = estimated(
            value,
            max(low, 0.0),
            min(high, found.layout.largest_change),
            confidence=confidence,
            note="" if shown.sum() >= 2 else "too few groups are shown to compare",
            cut=shown.sum() >= 2 and any(_cut(value, found) for value in bands(z=1.0).value),
        )
    return result


def _effects(tables: Tables) -> Explanation:
    found = tables.explanation
    if found is None or not found.layout.columns:
        raise FairnessError(
            "no columns were left out in this run; ethics.explanation.columns of the charter names "
            "those that are"
        )
    return found


def _groups(tables: Tables, found: Explanation, minimum_cell: int) -> tuple[Partition, BoolArray]:
    feature = found.layout.by.name if found.layout.by else ""
    partition = by_feature(tables, feature)
    return partition, suppressed_groups(partition, minimum_cell=minimum_cell)


def _bands(
    partition: Partition,
    found: Explanation,
    column: int,
    *,
    z: float,
    keep: BoolArray | None = None,
) -> Bands:
    chosen = np.ones(len(partition.groups), dtype=bool) if keep is None else keep
    return bounded_mean(
        found.effects[column][chosen],
        partition.sizes[chosen],
        total_noise=found.effects_variance,
        people_noise=partition.size_variance,
        most=found.layout.largest_change,
        z=z,
        step=found.step,
    )


def _estimate(bands: Bands, index: int, found: Explanation, confidence: float) -> Estimate:
    value = float(bands.value[index])
    return estimated(
        value,
        max(0.0, float(bands.low[index])),
        min(found.layout.largest_change, float(bands.high[index])),
        confidence=confidence,
        note="" if value >= 0 else "no value: no records",
        cut=_cut(value, found),
    )


def _cut(value: float, found: Explanation) -> bool:
    """Whether noise carried a mean change to the end of its range or beyond, as `cut_values`."""
    at_end = value <= 0.0 or value >= found.layout.largest_change
    return found.effects_variance > 0 and at_end


def _withheld(found: Explanation, confidence: float, minimum_cell: int) -> Estimate:
    return Estimate(
        value=math.nan,
        low=0.0,
        high=found.layout.largest_change,
        confidence=confidence,
        note=suppression_reason(minimum_cell),
    )
