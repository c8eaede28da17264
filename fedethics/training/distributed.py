"""A site's part of one step of DP-SGD over all sites: its clipped gradient sum and a noise share.

Guarantee: the opened sum of at least `minimum-cohort` sites, less what `colluders` of them know, is
central DP-SGD within 2^-100 a coordinate: a random function of (sum of clipped gradients over the
union of the sites' records + N(0, (noise_multiplier * clipping_norm)^2)). Each unit joins the batch
independently with probability sampling_rate. One site's share alone carries less noise and must
never leave unmasked. Nothing but integers is added.

Sources: Kairouz, Liu and Steinke 2021 (arXiv 2102.06387); why the shares add up
to a Gaussian mechanism: fedethics/privacy/gaussian_shares.py.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from fedethics.data.records import Targets
from fedethics.errors import TrainingError
from fedethics.privacy import wide_gaussian
from fedethics.privacy.noise import NoiseSource
from fedethics.training.activations import Activations
from fedethics.training.clipping import integer_sum
from fedethics.training.dp_sgd import poisson_sample, site_of
from fedethics.training.engines import gradients_of
from fedethics.training.factors import trained_coordinates
from fedethics.training.learner import Learner
from fedethics.training.local_terms import LocalTerms


def gradient_share(
    learner: Learner,
    *,
    vector: NDArray[np.float32],
    activations: Activations,
    labels: Targets,
    terms: LocalTerms,
    noise: NoiseSource,
    share_std: float,
    limit: int,
    units: NDArray[np.int64] | None = None,
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.int64]:
    """Return the site's clipped gradient sum at `vector` with its noise share, in grid steps.

    Args:
        learner: the model; used alone for the length of the call.
        vector: received adapter, shape (p,).
        activations: of the site's n training records.
        labels: targets, shape (n,).
        terms: sampling and clipping; one step.
        noise: the site's own source, for sampling and for noise; never a seed of the run.
        share_std: parameter of the discrete Gaussian on every trained coordinate, in grid steps.
        limit: each coordinate of the sum is cut to this before noise is added, so that sums fit
            their words. Cutting brings no two sums further apart.
        units: which unit each record belongs to, shape (n,).
        weights: of each record in the loss, shape (n,), as in `dp_sgd.train_round`.

    Raises:
        TrainingError: the terms are not of one step. Nothing is released.
    """
    if terms.steps != 1:
        raise TrainingError(
            f"{terms.steps} local steps under distributed trust: only one is noised enough; "
            "nothing was computed"
        )
    mask = trained_coordinates(learner, terms.frozen)
    with learner.lock, gradients_of(learner) as gradients:
        learner.load(vector)
        site = site_of(
            learner, gradients, activations, labels, units=units, weights=weights, terms=terms
        )
        sampled = poisson_sample(noise, count=site.unit_count, rate=terms.sampling_rate)
        total = integer_sum(site, sampled, terms=terms).total
    # Sensitive: without the noise until the next lines.
    share = torch.clamp(total, -limit, limit).numpy().copy()
    share[mask] += wide_gaussian.sample(noise, size=int(mask.sum()), sigma=share_std)
    return share
