"""A site's part in a light evaluation: four counts of its held-out records, with noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedethics import charter_sums
from fedethics.aggregates.measuring import Vector, scores_of, share_of
from fedethics.fairness.tabulate import tabulate_progress
from fedethics.privacy.noise import NoiseSource
from fedethics.secagg import Opening
from fedethics.site.request_context import RequestContext


def count(
    context: RequestContext, adapter: Vector, _opening: Opening, noise: NoiseSource
) -> NDArray[np.int64]:
    """Return the four counts with this site's share of the noise."""
    part = context.workbench.records.held_out
    scores = scores_of(context, adapter, part)
    layout = charter_sums.layout_of(context.charter)
    table = tabulate_progress(layout, labels=part.labels, scores=scores)
    share = share_of(context, context.plan.progress.noise, table.size, noise)
    return np.asarray(table + share, dtype=np.int64)
