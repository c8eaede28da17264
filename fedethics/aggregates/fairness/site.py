"""A site's part in the final release: its held-out records in the group tables, with noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedethics import charter_sums
from fedethics.aggregates.measuring import Vector, scores_of, share_of
from fedethics.fairness.layout import Layout
from fedethics.fairness.tabulate import tabulate
from fedethics.privacy.noise import NoiseSource
from fedethics.secagg import Opening
from fedethics.site.explanation import explain
from fedethics.site.request_context import RequestContext


def measure(
    context: RequestContext, adapter: Vector, _opening: Opening, noise: NoiseSource
) -> NDArray[np.int64]:
    """Return counts, histograms and what is explained, with this site's share of the noise."""
    part = context.workbench.records.held_out
    scores = scores_of(context, adapter, part)
    layout = charter_sums.layout_of(context.charter)
    table = np.concatenate(
        [
            tabulate(layout, groups=part.groups, labels=part.labels, scores=scores),
            explain(context, adapter, scores),
        ]
    )
    return np.asarray(table + _share(context, layout, noise), dtype=np.int64)


def _share(context: RequestContext, layout: Layout, noise: NoiseSource) -> NDArray[np.int64]:
    """Return this site's noise on the whole vector."""
    plan, explained = context.plan.fairness, layout.explained
    blocks = (
        ("counts", plan.counts, layout.counts_length),
        ("histogram", plan.histogram, layout.histogram_length),
        ("effects", plan.effects, explained.effects_length),
        ("flips", plan.flips, explained.flips_length),
    )
    return np.concatenate(
        [share_of(context, planned, length, noise.derive(name)) for name, planned, length in blocks]
    )
