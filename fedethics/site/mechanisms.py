"""The two mechanisms at a site: train with DP-SGD, and measure held-out records with count noise.

Guarantee: what they return carries its noise already, as integers on the task's grid; the caller
has reserved its cost in the ledger before calling.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedethics import tasks
from fedethics.fairness.layout import Layout
from fedethics.fairness.tabulate import tabulate, tabulate_progress
from fedethics.privacy.noise import NoiseSource
from fedethics.secagg import Opening, Quantiser
from fedethics.site.explanation import explain
from fedethics.site.session import Session
from fedethics.steering import count_groups
from fedethics.training.distributed import gradient_share
from fedethics.training.dp_sgd import train_round
from fedethics.training.factors import check_form


def train(
    session: Session,
    adapter: NDArray[np.float32],
    opening: Opening,
    noise: NoiseSource,
    *,
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.int64]:
    """Return what the site adds to the round's sum, on the task's grid, shape (p,).

    Under local trust its weighted, noised update; under distributed trust its gradient sum with a
    share of the noise, which must not leave unmasked.
    """
    part = session.workbench.records.train
    terms = session.local_terms(opening.round_number)
    if session.charter.privacy.training.trust_mode == "distributed":
        return gradient_share(
            session.workbench.learner,
            vector=adapter,
            activations=session.workbench.activations(part),
            labels=part.labels,
            terms=terms,
            noise=noise,
            share_std=tasks.gradient_share_std(session.plan),
            limit=tasks.sum_limit(session.charter),
            units=part.units,
            weights=weights,
        )
    result = train_round(
        session.workbench.learner,
        vector=adapter,
        activations=session.workbench.activations(part),
        labels=part.labels,
        terms=terms,
        noise=noise,
        units=part.units,
        weights=weights,
    )
    weighted = result.update * np.float32(tasks.site_weight(session.charter, session.site))
    aggregation = session.charter.secagg
    quantiser = Quantiser(clip=aggregation.clip, scale=aggregation.scale)
    return quantiser.quantise(weighted, random_bytes=noise.derive("rounding").random_bytes)


def measure(
    session: Session, adapter: NDArray[np.float32], opening: Opening, noise: NoiseSource
) -> NDArray[np.int64]:
    """Return the tables of the opening's task with this site's share of the noise.

    Of held-out records; of training records for the counts that steer training.
    """
    records, plan = session.workbench.records, session.plan
    part = records.train if opening.task == tasks.STEERING else records.held_out
    layout = tasks.layout_of(session.charter)
    scores = session.workbench.learner.scores(adapter, session.workbench.activations(part))
    # An adapter can be made so that one record's score overflows. An error would tell of that
    # record without noise, so such a score counts as 0.
    scores = np.where(np.isfinite(scores), scores, 0.0)
    if opening.task == tasks.STEERING:
        table = count_groups(session.charter, groups=part.groups, labels=part.labels, scores=scores)
        share = _share(session, plan.steering_site_variance, table.size, noise)
        return np.asarray(table + share, dtype=np.int64)
    if opening.task == tasks.PROGRESS:
        table = tabulate_progress(layout, labels=part.labels, scores=scores)
        share = _share(session, plan.site_variance(plan.progress_std), table.size, noise)
        return np.asarray(table + share, dtype=np.int64)
    table = np.concatenate(
        [
            tabulate(layout, groups=part.groups, labels=part.labels, scores=scores),
            explain(session, adapter, scores),
        ]
    )
    return np.asarray(table + _fairness_share(session, layout, noise), dtype=np.int64)


def _fairness_share(session: Session, layout: Layout, noise: NoiseSource) -> NDArray[np.int64]:
    """Return this site's noise on the whole vector of the fairness release."""
    plan, explained = session.plan, layout.explained
    blocks = (
        ("counts", plan.counts_std, layout.counts_length),
        ("histogram", plan.histogram_std, layout.histogram_length),
        ("effects", plan.effects_std, explained.effects_length),
        ("flips", plan.flips_std, explained.flips_length),
    )
    return np.concatenate(
        [
            _share(session, plan.site_variance(std), length, noise.derive(name))
            for name, std, length in blocks
        ]
    )


def require_form(session: Session, adapter: NDArray[np.float32], opening: Opening) -> None:
    """Refuse an adapter that the charter's form could not have come to by the opening's round.

    Raises:
        ModelError: it is not of that form; nothing was computed with it.
    """
    # Updates, and the counts that steer them, are taken before the round's sum is in the adapter.
    before = opening.task in {tasks.UPDATE, tasks.STEERING}
    check_form(
        session.learner,
        adapter,
        session.charter.adapter,
        rounds_done=opening.round_number - before,
    )


def _share(session: Session, variance: float, size: int, noise: NoiseSource) -> NDArray[np.int64]:
    mechanism = session.plan.count_mechanism
    if mechanism is None or not variance:
        return np.zeros(size, dtype=np.int64)
    return mechanism.draw(noise, variance=variance, size=size)
