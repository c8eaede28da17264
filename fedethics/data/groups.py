"""Sensitive features of records: which declared group each record is in, counted for local use."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping

import numpy as np

from fedethics.charter.data_terms import NOT_RECORDED, DataTerms, SensitiveColumn
from fedethics.charter.spelling import exact_number
from fedethics.data.cells import CellProblem, Value
from fedethics.data.records import Records


def group_index(value: Value, feature: SensitiveColumn) -> int:
    """Return the index of the declared group that `value` is in.

    A value that was not recorded is in the group "not recorded", where the charter declares one,
    or in the group that the charter merges it into.

    Raises:
        CellProblem: the value is in no declared group.
    """
    if isinstance(value, float) and feature.edges:
        return bisect_right(feature.edges, value)
    if isinstance(value, float):
        index = feature.by_number.get(exact_number(repr(value)) or "")
    else:
        name = NOT_RECORDED if value is None else value
        name = feature.merged.get(name, name)
        index = feature.groups.index(name) if name in feature.groups else None
    if index is None:
        raise CellProblem(
            f"in no declared group of {feature.name} ({', '.join(feature.groups)}); records are "
            "never dropped for their group"
        )
    return index


def group_counts(records: Records, terms: DataTerms) -> Mapping[str, Mapping[str, int]]:
    """Return records per group of each feature. Sensitive: for the site's own eyes only."""
    counts = {}
    for position, feature in enumerate(terms.sensitive):
        tally = np.bincount(records.groups[:, position], minlength=len(feature.groups))
        counts[feature.name] = dict(zip(feature.groups, tally.tolist(), strict=True))
    return counts
