"""What the coordinator does with an opened sum: the next adapter from the last one.

Guarantee: it reads nothing but the adapter, the opened sum and public terms, so it is
post-processing: it costs no privacy, and whoever has the sum can repeat it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedethics import tasks
from fedethics.charter.model import Charter
from fedethics.privacy.gaussian_shares import NORM_STEPS
from fedethics.secagg import Quantiser
from fedethics.training.factors import Form, Pair, pairs
from fedethics.training.learner import Learner


def server_step(
    learner: Learner,
    adapter: NDArray[np.float32],
    *,
    charter: Charter,
    total: NDArray[np.int64],
    survivors: Sequence[str],
) -> NDArray[np.float32]:
    """Return the adapter after a round, float32, shape (p,).

    Args:
        learner: the model of the charter; only its layout is read.
        adapter: the adapter that the round started from, shape (p,).
        charter: the agreed terms.
        total: the opened sum on its integer grid, shape (p,): weighted updates, or, under
            distributed trust, gradients.
        survivors: the sites in the sum.
    """
    distributed = charter.privacy.training.trust_mode == "distributed"
    mean = _gradient_step if distributed else _mean_update
    return stepped(
        learner,
        adapter,
        mean=mean(charter, total, survivors),
        rate=charter.training.server_learning_rate,
        form=charter.adapter.form,
    )


def _mean_update(
    charter: Charter, total: NDArray[np.int64], survivors: Sequence[str]
) -> NDArray[np.float64]:
    """Return the mean of the survivors' updates, weighted by their declared records."""
    grid = Quantiser(clip=charter.secagg.clip, scale=charter.secagg.scale)
    weight = sum(tasks.site_weight(charter, site) for site in survivors)
    return grid.dequantise(total) / weight


def _gradient_step(
    charter: Charter, total: NDArray[np.int64], survivors: Sequence[str]
) -> NDArray[np.float64]:
    """Return one step of gradient descent over the union of the survivors' records."""
    members = (charter.member(site) for site in survivors)
    declared = sum(member.declared_records for member in members if member)
    return gradient_step(charter, total, declared=declared)


def gradient_step(
    charter: Charter, total: NDArray[np.int64], *, declared: int
) -> NDArray[np.float64]:
    """Return minus the learning rate times the mean gradient.

    Args:
        charter: clipping norm, sampling rate and learning rate.
        total: sum of clipped gradients and noise, in grid steps, shape (p,).
        declared: declared units of all sites in the sum: public, unlike the batch drawn.
    """
    terms = charter.privacy.training
    unit = terms.clipping_norm / NORM_STEPS
    mean = total.astype(np.float64) * unit / (terms.sampling_rate * declared)
    return -charter.training.learning_rate * mean


def stepped(
    learner: Learner,
    adapter: NDArray[np.float32],
    *,
    mean: NDArray[np.float64],
    rate: float,
    form: Form,
) -> NDArray[np.float32]:
    """Return `adapter + rate * mean`, in the shape that the form keeps its factors in."""
    vector = (adapter + rate * mean).astype(np.float32)
    if form == "fedsvd":
        for pair in pairs(learner):
            vector[pair.a], vector[pair.b] = _orthonormal(pair, vector)
    return vector


def _orthonormal(
    pair: Pair, vector: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return A and B anew, flat: the same product, A with orthonormal rows, B = U S of its SVD.

    Source: FedSVD (arXiv 2505.12805), section 3. With A^T = Q R, the SVD of the small matrix
    B R^T = U S W^T gives that of the product: B A = U S (Q W)^T.
    """
    a, b = pair.read(vector)
    q, r = np.linalg.qr(a.T)
    u, s, wt = np.linalg.svd(b @ r.T, full_matrices=False)
    new_a, new_b = wt @ q.T, u * s
    return new_a.astype(np.float32).ravel(), new_b.astype(np.float32).ravel()
