"""A site's part in a round: DP-SGD on its training records.

Guarantee: what it returns carries its noise already, as integers on the update's grid; the caller
has reserved its cost in the ledger before calling.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from fedethics import charter_sums
from fedethics.aggregates.measuring import Mechanism
from fedethics.aggregates.steering.weights import weights_of_round
from fedethics.aggregates.update import sum_limit
from fedethics.privacy.noise import NoiseSource
from fedethics.secagg import Opening, Quantiser
from fedethics.site.request_context import RequestContext
from fedethics.training.distributed import gradient_share
from fedethics.training.dp_sgd import train_round
from fedethics.training.local_terms import LocalTerms


def prepare(context: RequestContext, opening: Opening, sent: Mapping[str, bytes]) -> Mechanism:
    """Return the training of a round, with the weights that follow from the sums sent again.

    Raises:
        SecaggReject: they are not the sums that this site was told. Nothing was computed.
    """
    weights = weights_of_round(context, opening, sent.get("steering", b""))
    return partial(train, weights=weights)


def train(
    context: RequestContext,
    adapter: NDArray[np.float32],
    opening: Opening,
    noise: NoiseSource,
    *,
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.int64]:
    """Return what the site adds to the round's sum, on the update's grid, shape (p,).

    Under local trust its weighted, noised update; under distributed trust its gradient sum with a
    share of the noise, which must not leave unmasked.
    """
    part = context.workbench.records.train
    terms = context.local_terms(opening.round_number)
    match context.charter.privacy.training.trust_mode:
        case "distributed":
            return gradient_share(
                context.workbench.learner,
                vector=adapter,
                activations=context.workbench.activations(part),
                labels=part.labels,
                terms=terms,
                noise=noise,
                share_std=context.plan.update.gradient_share_std,
                limit=sum_limit(context.charter),
                units=part.units,
                weights=weights,
            )
        case "local":
            return _update(context, adapter, terms, noise, weights)
        case unknown:
            assert_never(unknown)


def _update(
    context: RequestContext,
    adapter: NDArray[np.float32],
    terms: LocalTerms,
    noise: NoiseSource,
    weights: NDArray[np.float64] | None,
) -> NDArray[np.int64]:
    """Return the site's weighted and noised update, on the update's grid, shape (p,)."""
    part = context.workbench.records.train
    result = train_round(
        context.workbench.learner,
        vector=adapter,
        activations=context.workbench.activations(part),
        labels=part.labels,
        terms=terms,
        noise=noise,
        units=part.units,
        weights=weights,
    )
    weighted = result.update * np.float32(charter_sums.site_weight(context.charter, context.site))
    aggregation = context.charter.secagg
    quantiser = Quantiser(clip=aggregation.clip, scale=aggregation.scale)
    return quantiser.quantise(weighted, random_bytes=noise.derive("rounding").random_bytes)
