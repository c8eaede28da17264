"""The gap that comparisons are drawn against: the charter's first difference between groups."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fedethics.charter.ethics_terms import Objective
from fedethics.charter.model import Charter
from fedethics.charter_sums import layout_of
from fedethics.data.records import Split
from fedethics.fairness import Tables, aggregate, tabulate
from fedethics.fairness.explained import NOTHING_EXPLAINED


def chosen_gap(charter: Charter) -> Objective | None:
    """Return the charter's first objective about a difference between groups, if there is one."""
    return next(
        (
            one
            for one in charter.ethics.objectives
            if one.feature
            and one.metric.endswith("_difference")
            and one.direction == "at-most"
            and not one.needs_swap
        ),
        None,
    )


def pooled_gap(
    charter: Charter, records: Mapping[str, Split], scores: Mapping[str, NDArray[np.float64]]
) -> float | None:
    """Return that gap over every site's held-out records, exactly and without noise.

    None where the charter has no such objective, or fewer than two groups have a value.
    """
    objective = chosen_gap(charter)
    if objective is None:
        return None
    layout = dataclasses.replace(layout_of(charter), explained=NOTHING_EXPLAINED)
    summed = sum(
        tabulate(
            layout,
            groups=split.held_out.groups,
            labels=split.held_out.labels,
            scores=scores[site],
        )
        for site, split in records.items()
    )
    tables = Tables.from_vector(
        summed, layout=layout, counts_variance=0.0, histogram_variance=0.0, sites=len(records)
    )
    value = aggregate(tables, objective.metric, feature=objective.feature).value
    return float(value) if np.isfinite(value) else None
