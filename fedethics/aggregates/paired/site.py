"""A site's part in the comparison: its held-out records under both models, with noise.

Guarantee: a record moves one entry by one. Which one follows from its group, its label and what the
two models answer to it alone; both are scored in this one request. The caller has reserved the cost
before calling.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedethics.aggregates.measuring import Vector, scores_of, share_of
from fedethics.aggregates.paired import PAIRED, groups_of, terms_of
from fedethics.charter.paired_terms import ACCURACY
from fedethics.charter_sums import layout_of
from fedethics.data.records import Records
from fedethics.fairness.layout import Layout
from fedethics.fairness.paired import tabulate_pairs
from fedethics.privacy.noise import NoiseSource
from fedethics.secagg import Opening
from fedethics.site.request_context import RequestContext


def count(
    context: RequestContext, adapter: Vector, _opening: Opening, noise: NoiseSource
) -> NDArray[np.int64]:
    """Return the four counts of each group with this site's share of the noise.

    Raises:
        AccountingError: the charter compares with nothing. Nothing was computed.
    """
    plan, charter = PAIRED.of(context.plan.sums), context.charter
    part, layout = context.workbench.records.held_out, layout_of(charter)
    start = context.workbench.learner.initial_vector()
    before, after = (
        right(layout, part, scores_of(context, vector, part)) for vector in (start, adapter)
    )
    names, wanted = [feature.name for feature in layout.features], terms_of(charter).feature
    groups = (
        part.groups[:, names.index(wanted)].astype(np.int64)
        if wanted
        else np.zeros(len(part.labels), dtype=np.int64)
    )
    table = tabulate_pairs(groups, before=before, after=after, count=len(groups_of(charter)))
    share = share_of(context, plan.noise, table.size, noise)
    return np.asarray(table.ravel() + share, dtype=np.int64)


def right(layout: Layout, part: Records, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return whether each record is decided right, as the group tables count it, shape (n,).

    Args:
        layout: of the charter's tables.
        part: the records.
        scores: what a model answers, as `Measured.read` takes it.
    """
    found = layout.measured.read(part.labels, scores, threshold=layout.threshold)
    hits = layout.measured.rates[ACCURACY].hits
    told = np.zeros(layout.measured.decisions, dtype=np.bool_)
    for target, decision in hits:
        told[target, decision] = True
    return np.asarray(told[found.target, found.decision], dtype=np.bool_)
