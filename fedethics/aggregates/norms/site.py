"""A site's part in the count of gradient norms: its training units by length, with noise.

Guarantee: a unit is in one bin, which follows from its own records, the adapter and the charter. A
gradient that is not finite is in the last. The caller has reserved the cost before calling.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedethics.aggregates.measuring import Vector, share_of
from fedethics.aggregates.norms import BINS, EDGES, NORMS
from fedethics.privacy.noise import NoiseSource
from fedethics.secagg import Opening
from fedethics.site.request_context import RequestContext
from fedethics.training.clipping import unit_norms
from fedethics.training.dp_sgd import site_of
from fedethics.training.engines import gradients_of


def count(
    context: RequestContext, adapter: Vector, opening: Opening, noise: NoiseSource
) -> NDArray[np.int64]:
    """Return the histogram with this site's share of the noise, shape (bins,).

    Raises:
        AccountingError: the charter does not ask for it. Nothing was computed.
    """
    plan, part = NORMS.of(context.plan.sums), context.workbench.records.train
    terms, learner = context.local_terms(opening.round_number), context.workbench.learner
    activations = context.workbench.activations(part)
    with learner.lock, gradients_of(learner) as gradients:
        learner.load(adapter)
        site = site_of(
            learner, gradients, activations, part.labels, units=part.units, terms=terms
        )  # fmt: skip
        lengths = unit_norms(site, terms=terms)
    share = share_of(context, plan.noise, BINS, noise)
    return np.asarray(norm_histogram(lengths, terms.clipping_norm) + share, dtype=np.int64)


def norm_histogram(norms: NDArray[np.float64], clipping_norm: float) -> NDArray[np.int64]:
    """Return how many norms are in each bin, shape (bins,).

    Args:
        norms: of the units' gradients, shape (n,); what is not finite is in the last bin.
        clipping_norm: that the bins are around.
    """
    edges = np.array(EDGES) * clipping_norm
    found = np.searchsorted(edges, np.where(np.isfinite(norms), norms, np.inf), side="right")
    return np.bincount(found, minlength=BINS).astype(np.int64)
