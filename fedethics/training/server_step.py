"""What the coordinator does with an opened sum: the next adapter from the last one.

Guarantee: it reads only the adapter, the opened sum and public terms, so it is post-processing: it
costs no privacy, and anyone who has the sum can repeat it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from fedethics import charter_sums
from fedethics.charter.model import Charter
from fedethics.privacy.gaussian_shares import NORM_STEPS
from fedethics.secagg import Quantiser
from fedethics.server_optimizers import find_server_optimizer
from fedethics.training.factors import Form, Pair, pairs
from fedethics.training.learner import Learner

# The server's memory of earlier rounds, float64, shape (rows, p).
Moments = NDArray[np.float64]
# Factors are float32: rounding moves them, relative to their size, by 6e-8 an entry.
_SVD_TOLERANCE = 1e-5


def server_step(
    learner: Learner,
    adapter: NDArray[np.float32],
    *,
    charter: Charter,
    total: NDArray[np.int64],
    survivors: Sequence[str],
    moments: Moments | None = None,
) -> NDArray[np.float32]:
    """Return the adapter after a round, float32, shape (p,).

    Args:
        learner: the model of the charter; only its layout is read.
        adapter: the adapter that the round started from, shape (p,).
        charter: the agreed terms.
        total: the opened sum on its integer grid, shape (p,): weighted updates, or, under
            distributed trust, gradients.
        survivors: the sites in the sum.
        moments: the server's memory before the round; None before the first.
    """
    plain = plain_step(adapter, charter=charter, total=total, survivors=survivors, moments=moments)
    return in_form(learner, plain, charter.adapter.form)


def plain_step(
    adapter: NDArray[np.float32],
    *,
    charter: Charter,
    total: NDArray[np.int64],
    survivors: Sequence[str],
    moments: Moments | None = None,
) -> NDArray[np.float32]:
    """Return the adapter after a round before its factors are brought into the charter's form.

    Guarantee: equal bits on every machine. Each coordinate is computed by itself, by single
    IEEE 754 operations in float64 in a fixed order, and rounded to float32 once; no operation of
    linear algebra, whose order depends on the library, is among them.

    Args:
        adapter: the adapter that the round started from, shape (p,).
        charter: the agreed terms.
        total: the opened sum on its integer grid, shape (p,).
        survivors: the sites in the sum, in any order.
        moments: the server's memory before the round; None before the first.
    """
    mean = mean_of(charter, total=total, survivors=survivors)
    change, _ = server_change(charter, mean, moments)
    return _moved(adapter, change, charter.training.server_learning_rate)


def moments_after(
    charter: Charter,
    *,
    total: NDArray[np.int64],
    survivors: Sequence[str],
    moments: Moments | None,
) -> Moments | None:
    """Return the server's memory after a round, float64, shape (rows, p); None where it has none.

    Guarantee: equal bits on every machine, as `plain_step`.

    Args:
        charter: the agreed terms.
        total: the opened sum, shape (p,).
        survivors: the sites in the sum, in any order.
        moments: the memory before the round; None before the first.
    """
    if charter.training.server is None:
        return None
    return server_change(charter, mean_of(charter, total=total, survivors=survivors), moments)[1]


def server_change(
    charter: Charter, mean: NDArray[np.float64], moments: Moments | None
) -> tuple[NDArray[np.float64], Moments | None]:
    """Return what the charter's server adds for a mean, before its rate, and its memory then.

    Args:
        charter: the agreed terms.
        mean: of the opened sum, shape (p,).
        moments: the memory before the round, shape (rows, p); None before the first.
    """
    terms = charter.training.server
    if terms is None:
        return mean, None
    optimizer = find_server_optimizer(terms.optimizer)
    before = optimizer.start(terms, mean.size) if moments is None else moments
    after = optimizer.moments(terms, mean, before)
    return optimizer.change(terms, after), after


def mean_of(
    charter: Charter, *, total: NDArray[np.int64], survivors: Sequence[str]
) -> NDArray[np.float64]:
    """Return the mean that an opened sum of updates or gradients stands for, shape (p,)."""
    match charter.privacy.training.trust_mode:
        case "local":
            mean = _mean_update
        case "distributed":
            mean = _gradient_step
        case unknown:
            assert_never(unknown)
    return mean(charter, total, sorted(survivors))


def _mean_update(
    charter: Charter, total: NDArray[np.int64], survivors: Sequence[str]
) -> NDArray[np.float64]:
    """Return the mean of the survivors' updates, weighted by their declared records."""
    grid = Quantiser(clip=charter.secagg.clip, scale=charter.secagg.scale)
    weight = 0.0
    for site in survivors:  # not sum(): since Python 3.12 it rounds floats in another way
        weight += charter_sums.site_weight(charter, site)
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
    return in_form(learner, _moved(adapter, mean, rate), form)


def in_form(learner: Learner, plain: NDArray[np.float32], form: Form) -> NDArray[np.float32]:
    """Return a plain step in the shape that the form keeps its factors in, shape (p,)."""
    if form != "fedsvd":
        return plain
    vector = plain.copy()
    for pair in pairs(learner):
        vector[pair.a], vector[pair.b] = _orthonormal(pair, vector)
    return vector


def follows(
    learner: Learner, vector: NDArray[np.float32], plain: NDArray[np.float32], form: Form
) -> bool:
    """Say whether `vector` is the result of a plain step in the charter's form.

    Equal bits, except for the factors under "fedsvd": their singular value decomposition differs in
    bits from one build of a linear algebra library to the next. There A must have orthonormal rows
    in the row space that it had, and B A must be the same product, each within `_SVD_TOLERANCE`. So
    the maker of `vector` chose a rotation of the factors at most, which changes no output.

    Args:
        learner: the model of the charter; only its layout is read.
        vector: the adapter in question, shape (p,).
        plain: from `plain_step`, shape (p,).
        form: the charter's.
    """
    if vector.shape != plain.shape or not np.isfinite(vector).all():
        return False
    free = np.zeros(plain.size, dtype=bool)
    for pair in pairs(learner) if form == "fedsvd" else ():
        free[pair.a] = free[pair.b] = True
        if not _is_rotated(pair, vector, plain):
            return False
    return vector[~free].tobytes() == plain[~free].tobytes()


def _is_rotated(pair: Pair, vector: NDArray[np.float32], plain: NDArray[np.float32]) -> bool:
    """Say whether a pair's factors in `vector` are those of `plain`, rotated to orthonormal A."""
    (a, b), (old_a, old_b) = pair.read(vector), pair.read(plain)
    if np.abs(a @ a.T - np.eye(len(a))).max() > _SVD_TOLERANCE:
        return False
    basis, _ = np.linalg.qr(old_a.T)
    if np.abs(a - (a @ basis) @ basis.T).max() > _SVD_TOLERANCE:
        return False
    # The norm of b a - old_b old_a, without that large matrix and without cancellation.
    _, rows = np.linalg.qr(np.vstack([a, old_a]).T)
    apart = np.linalg.norm(np.hstack([b, -old_b]) @ rows.T)
    size = np.linalg.norm(old_b) * np.linalg.norm(old_a)
    return bool(apart <= _SVD_TOLERANCE * size)


def _moved(
    adapter: NDArray[np.float32], mean: NDArray[np.float64], rate: float
) -> NDArray[np.float32]:
    moved = rate * mean
    moved += adapter
    return moved.astype(np.float32)


def _orthonormal(
    pair: Pair, vector: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return new A and B, flat: the same product, A with orthonormal rows, B = U S of its SVD.

    Source: FedSVD (arXiv 2505.12805), section 3. With A^T = Q R, the SVD of the small matrix
    B R^T = U S W^T gives that of the product: B A = U S (Q W)^T.
    """
    a, b = pair.read(vector)
    q, r = np.linalg.qr(a.T)
    u, s, wt = np.linalg.svd(b @ r.T, full_matrices=False)
    new_a, new_b = wt @ q.T, u * s
    return new_a.astype(np.float32).ravel(), new_b.astype(np.float32).ravel()
