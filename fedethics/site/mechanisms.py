"""The two mechanisms at a site: train with DP-SGD, and measure held-out records with count noise.

Guarantee: what they return carries its noise already, as integers on the task's grid; the caller
has reserved its cost in the ledger before calling.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedethics import tasks
from fedethics.fairness.tabulate import tabulate, tabulate_progress
from fedethics.privacy.noise import NoiseSource
from fedethics.secagg import Quantiser
from fedethics.site.session import Session
from fedethics.training.dp_sgd import train_round


def train(
    session: Session, adapter: NDArray[np.float32], _task: str, noise: NoiseSource
) -> NDArray[np.int64]:
    """Return the site's weighted, noised update on the fixed-point grid, shape (p,)."""
    part = session.workbench.records.train
    result = train_round(
        session.workbench.learner,
        vector=adapter,
        activations=session.workbench.activations(part),
        labels=part.labels,
        terms=session.local_terms(),
        noise=noise,
    )
    weighted = result.update * np.float32(tasks.site_weight(session.charter, session.site))
    aggregation = session.charter.secagg
    quantiser = Quantiser(clip=aggregation.clip, scale=aggregation.scale)
    return quantiser.quantise(weighted, random_bytes=noise.derive("rounding").random_bytes)


def measure(
    session: Session, adapter: NDArray[np.float32], task: str, noise: NoiseSource
) -> NDArray[np.int64]:
    """Return the held-out tables of `task` with this site's share of the noise."""
    part = session.workbench.records.held_out
    layout = tasks.layout_of(session.charter)
    scores = session.workbench.learner.scores(adapter, session.workbench.activations(part))
    # An adapter can be made so that one record's score overflows. An error would tell of that
    # record without noise, so such a score counts as 0.
    scores = np.where(np.isfinite(scores), scores, 0.0)
    plan = session.plan
    if task == tasks.PROGRESS:
        table = tabulate_progress(layout, labels=part.labels, scores=scores)
        share = _share(session, plan.progress_std, table.size, noise)
        return np.asarray(table + share, dtype=np.int64)
    table = tabulate(layout, groups=part.groups, labels=part.labels, scores=scores)
    counts = _share(session, plan.counts_std, layout.counts_length, noise.derive("counts"))
    histogram = _share(
        session, plan.histogram_std, layout.histogram_length, noise.derive("histogram")
    )
    return np.asarray(table + np.concatenate([counts, histogram]), dtype=np.int64)


def _share(session: Session, std: float, size: int, noise: NoiseSource) -> NDArray[np.int64]:
    if std == 0.0:
        return np.zeros(size, dtype=np.int64)
    return noise.skellam(variance=session.plan.site_variance(std), size=size)
