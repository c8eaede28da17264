"""What measuring at a site has in common: what it is asked with, scores, and shares of noise.

Guarantee: what a mechanism returns carries its noise already; the caller has reserved its cost in
the ledger before calling.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedethics.aggregates.noise import Noise
from fedethics.data.records import Records
from fedethics.privacy.noise import NoiseSource
from fedethics.secagg import Opening
from fedethics.site.request_context import RequestContext

Vector: TypeAlias = NDArray[np.float32]
Mechanism: TypeAlias = Callable[[RequestContext, Vector, Opening, NoiseSource], NDArray[np.int64]]


def scores_of(context: RequestContext, adapter: Vector, part: Records) -> NDArray[np.float64]:
    """Return the score of each record, shape (n,), all finite.

    An adapter can be made so that one record's score overflows. An error would reveal that record
    without noise, so such a score counts as 0.
    """
    scores = context.workbench.learner.scores(adapter, context.workbench.activations(part))
    return np.where(np.isfinite(scores), scores, 0.0)


def share_of(
    context: RequestContext, planned: Noise, size: int, noise: NoiseSource
) -> NDArray[np.int64]:
    """Return this site's share of the noise on `size` entries; zeros without DP."""
    mechanism = context.plan.count_mechanism
    if mechanism is None or not planned.site_variance:
        return np.zeros(size, dtype=np.int64)
    return mechanism.draw(noise, variance=planned.site_variance, size=size)
