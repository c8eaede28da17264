"""A site's part in the membership audit: two histograms of how sure the adapter is, with noise.

Guarantee: a unit, with all of its records, is in one entry of one half; the noise of the trained
half is what the training's trust mode asks for, that of the held-out half what the evaluation's
does. The caller has reserved the cost on both accounts before calling.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedethics import charter_sums
from fedethics.aggregates.audit import AUDIT
from fedethics.aggregates.measuring import Vector, scores_of, share_of
from fedethics.aggregates.noise import Noise
from fedethics.data.records import Records
from fedethics.privacy.audit.histogram import loss_histogram
from fedethics.privacy.noise import NoiseSource
from fedethics.secagg import Opening
from fedethics.site.request_context import RequestContext


def count_losses(
    context: RequestContext, adapter: Vector, _opening: Opening, noise: NoiseSource
) -> NDArray[np.int64]:
    """Return the trained units' histogram, then the held-out ones', shape (2 * bins,).

    Raises:
        AccountingError: the charter asks for no audit. Nothing was computed.
    """
    plan, records = AUDIT.of(context.plan.sums), context.workbench.records
    halves = (
        ("members", records.train, plan.members),
        ("non-members", records.held_out, plan.non_members),
    )
    return np.concatenate(
        [_half(context, adapter, part, half, noise.derive(name)) for name, part, half in halves]
    )


def _half(
    context: RequestContext, adapter: Vector, part: Records, planned: Noise, noise: NoiseSource
) -> NDArray[np.int64]:
    bins = context.charter.privacy.audit.bins
    scores = scores_of(context, adapter, part)
    measured = charter_sums.layout_of(context.charter).measured
    sureness = measured.sureness(part.labels.astype(np.int64), scores)
    table = loss_histogram(sureness, units=part.units, bins=bins)
    return np.asarray(table + share_of(context, planned, bins, noise), dtype=np.int64)
