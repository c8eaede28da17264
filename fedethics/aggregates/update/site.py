"""A site's part in a round: DP-SGD on its training records.

Guarantee: what it returns carries its noise already, as integers on the task's grid; the caller
has reserved its cost in the ledger before calling.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from fedethics import tasks
from fedethics.aggregates.measuring import Mechanism
from fedethics.aggregates.steering.weights import weights_of_round
from fedethics.aggregates.update import sum_limit
from fedethics.privacy.noise import NoiseSource
from fedethics.secagg import Opening, Quantiser
from fedethics.site.session import Session
from fedethics.training.distributed import gradient_share
from fedethics.training.dp_sgd import train_round
from fedethics.training.local_terms import LocalTerms


def prepare(session: Session, opening: Opening, sent: Mapping[str, bytes]) -> Mechanism:
    """Return the training of a round, with the weights that follow from the sums sent again.

    Raises:
        SecaggReject: they are not the sums that this site was told. Nothing was computed.
    """
    weights = weights_of_round(session, opening, sent.get("steering", b""))
    return partial(train, weights=weights)


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
    match session.charter.privacy.training.trust_mode:
        case "distributed":
            return gradient_share(
                session.workbench.learner,
                vector=adapter,
                activations=session.workbench.activations(part),
                labels=part.labels,
                terms=terms,
                noise=noise,
                share_std=session.plan.update.gradient_share_std,
                limit=sum_limit(session.charter),
                units=part.units,
                weights=weights,
            )
        case "local":
            return _update(session, adapter, terms, noise, weights)
        case unknown:
            assert_never(unknown)


def _update(
    session: Session,
    adapter: NDArray[np.float32],
    terms: LocalTerms,
    noise: NoiseSource,
    weights: NDArray[np.float64] | None,
) -> NDArray[np.int64]:
    """Return the site's weighted and noised update, on the task's grid, shape (p,)."""
    part = session.workbench.records.train
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
