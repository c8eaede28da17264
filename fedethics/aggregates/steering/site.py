"""A site's part in the counts that steer training: its training records by group, with noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedethics.aggregates.measuring import Vector, scores_of, share_of
from fedethics.privacy.noise import NoiseSource
from fedethics.secagg import Opening
from fedethics.site.request_context import RequestContext
from fedethics.steering import count_groups


def count(
    context: RequestContext, adapter: Vector, _opening: Opening, noise: NoiseSource
) -> NDArray[np.int64]:
    """Return the counts by group, label and prediction with this site's share of the noise."""
    part = context.workbench.records.train
    scores = scores_of(context, adapter, part)
    table = count_groups(context.charter, groups=part.groups, labels=part.labels, scores=scores)
    share = share_of(context, context.plan.steering.noise, table.size, noise)
    return np.asarray(table + share, dtype=np.int64)
