"""A site's part in the measures: numbers of its held-out records, in steps, with noise.

Guarantee: a record moves each measure's hit and miss by `GRID` steps added up, and each spread by
at most as many; so does its absence. The caller has reserved the cost before calling.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fedethics.aggregates.measures import MEASURES, MeasureLayout, layout_of_measures, terms_of
from fedethics.aggregates.measuring import Vector, scores_of, share_of
from fedethics.charter.measure_terms import GRID
from fedethics.data.records import Records
from fedethics.errors import FairnessError
from fedethics.fairness.bounded import on_grid
from fedethics.learning_tasks import find_task
from fedethics.privacy.noise import NoiseSource
from fedethics.secagg import Opening
from fedethics.site.request_context import RequestContext


def sum_values(
    context: RequestContext, adapter: Vector, _opening: Opening, noise: NoiseSource
) -> NDArray[np.int64]:
    """Return hits, misses and spreads with this site's share of the noise.

    Raises:
        AccountingError: the charter asks for no measures. Nothing was computed.
    """
    plan, layout = MEASURES.of(context.plan.sums), layout_of_measures(context.charter)
    part = context.workbench.records.held_out
    vector = tabulate_values(
        layout, groups=_groups(context, part), values=_of_the_task(context, adapter, part)
    )
    shares = (
        share_of(context, plan.values, layout.values_length, noise.derive("values")),
        share_of(
            context, plan.spread, layout.length - layout.values_length, noise.derive("spread")
        ),
    )
    return np.asarray(vector + np.concatenate(shares), dtype=np.int64)


def tabulate_values(
    layout: MeasureLayout, *, groups: NDArray[np.int64], values: Mapping[str, NDArray[np.float64]]
) -> NDArray[np.int64]:
    """Return the vector of one site without noise, shape (layout.length,).

    Guarantee: what a record adds follows from that record alone, see `MeasureLayout`.

    Args:
        layout: of the charter.
        groups: number of each record's group, shape (n,).
        values: numbers in [0, 1] of each measure, shape (n,).

    Raises:
        FairnessError: a measure is missing, of another length, or outside [0, 1].
    """
    hits, spreads = [], []
    for name, measure_of in layout.measures.items():
        own = values.get(name)
        if own is None or own.shape != groups.shape:
            raise FairnessError(f"{name} was not measured of every record; nothing was sent")
        steps = on_grid(own, grid=GRID)
        table = np.zeros((len(layout.groups), 3), dtype=np.int64)
        np.add.at(table, groups, steps)
        hits.append(table[:, :2])
        if not measure_of.binary:
            spreads.append(table[:, 2])
    return np.concatenate([each.ravel() for each in (*hits, *spreads)])


def _groups(context: RequestContext, part: Records) -> NDArray[np.int64]:
    terms = terms_of(context.charter)
    if not terms.feature:
        return np.zeros(len(part.texts), dtype=np.int64)
    names = [feature.name for feature in context.charter.data.sensitive]
    return np.asarray(part.groups[:, names.index(terms.feature)], dtype=np.int64)


def _of_the_task(
    context: RequestContext, adapter: Vector, part: Records
) -> dict[str, NDArray[np.float64]]:
    charter = context.charter
    terms = terms_of(charter)
    measured = find_task(charter.model.task).measured(charter.data.labels)
    asked = [name for name in terms.names if name in measured.values]
    if not asked:
        return {}
    scores = scores_of(context, adapter, part)
    return {name: measured.values[name](scores, terms.largest_loss) for name in asked}
