"""One round of DP-SGD at one site.

Guarantee: the update depends on the records only through `steps` releases of
(sum of clipped gradients + N(0, (noise_multiplier * clipping_norm)^2)), over batches that each
unit joins independently with probability sampling_rate. Adding or removing one unit changes a
sum by at most clipping_norm. What follows (mean, optimiser, difference) is post-processing.

Under `noise = "strict"` sum and noise are integers, and the noise is discrete Gaussian of variance
(noise_multiplier * NORM_STEPS)^2 + SMOOTHING. That is post-processing of the Gaussian mechanism
(fedethics/privacy/gaussian_shares.py), so the same accounting holds, with no floating-point number
in the release.

Where the clipping norm adapts, each release is the noised sum together with a noised count, and the
two cost what the sum alone cost with `noise_multiplier` (local_terms.py).

Source: Abadi et al. 2016, algorithm 1 (arXiv 1607.00133).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedethics.data.records import Targets
from fedethics.errors import TrainingError
from fedethics.privacy.noise import NoiseSource
from fedethics.training.activations import Activations
from fedethics.training.clipping import ClippedSum, Site, unit_sum
from fedethics.training.engines import gradients_of
from fedethics.training.factors import trained_coordinates
from fedethics.training.gaussian import gaussian
from fedethics.training.learner import Learner
from fedethics.training.local_terms import LocalTerms
from fedethics.training.optimizers import optimizer_of
from fedethics.training.per_sample import Gradients


# Sensitive: these numbers carry no noise and stay at the site.
@dataclass(frozen=True, kw_only=True, slots=True)
class LocalStats:
    """What happened in a round, for the site's own log.

    Attributes:
        loss: mean loss over sampled records; nan if there were none.
        clipped_fraction: share of sampled units whose gradient was longer than the norm.
        non_finite: sampled units whose gradient was not finite and counted as zero.
        steps: releases made.
        empty_steps: those of them in which no unit was sampled.
    """

    loss: float
    clipped_fraction: float
    non_finite: int
    steps: int
    empty_steps: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RoundResult:
    """A round's update, new minus received vector, float32, shape (p,), and the site's stats."""

    update: NDArray[np.float32]
    stats: LocalStats


def train_round(
    learner: Learner,
    *,
    vector: NDArray[np.float32],
    activations: Activations,
    labels: Targets,
    terms: LocalTerms,
    noise: NoiseSource,
    units: NDArray[np.int64] | None = None,
    weights: NDArray[np.float64] | None = None,
) -> RoundResult:
    """Train `terms.steps` steps from `vector` and return the difference.

    Args:
        learner: the model; used alone for the length of the call.
        vector: received adapter, shape (p,).
        activations: of the site's n training records.
        labels: targets, shape (n,).
        terms: steps, clipping, noise and optimiser.
        noise: the site's own source, for sampling and for noise; never a seed of the run.
        units: which unit each record belongs to, shape (n,); may be left out where the unit is
            the record.
        weights: of each record in the loss, shape (n,), from its own group and label and from
            public numbers only; None for 1.

    Raises:
        TrainingError: a guard failed, or the update is not finite. Nothing is released.
    """
    sums: list[ClippedSum] = []
    mask = torch.from_numpy(trained_coordinates(learner, terms.frozen))
    with learner.lock:
        learner.load(vector)
        start = learner.flat.clone()
        optimizer = optimizer_of(terms)
        with gradients_of(learner) as gradients:
            site = site_of(
                learner, gradients, activations, labels, units=units, weights=weights, terms=terms
            )
            current = terms
            for _ in range(terms.steps):
                clipped = sampled_sum(site, terms=current, noise=noise)
                mean = private_mean(clipped.total, mask, terms=current, noise=noise)
                current = with_moved_norm(current, clipped, noise=noise)
                gradient = mean.to(learner.flat.device)
                if terms.proximal:
                    # FedProx's pull follows from released numbers alone, so it needs no noise.
                    gradient = gradient + terms.proximal * (learner.flat - start)
                change = optimizer.step(learner.flat, gradient)
                learner.flat += torch.where(mask.to(learner.flat.device), change, 0.0)
                sums.append(clipped)
        update = learner.flat.cpu().numpy() - vector
    if not np.isfinite(update).all():
        raise TrainingError("the update is not finite; nothing was released. Lower learning-rate")
    return RoundResult(update=update, stats=_stats(sums))


def site_of(
    learner: Learner,
    gradients: Gradients,
    activations: Activations,
    labels: Targets,
    *,
    units: NDArray[np.int64] | None,
    terms: LocalTerms,
    weights: NDArray[np.float64] | None = None,
) -> Site:
    """Return what gradients are taken from; refuse persons without the rows' persons.

    Raises:
        TrainingError: `terms` protect persons and `units` does not say whose each record is.
    """
    if units is None:
        if terms.unit != "record":
            raise TrainingError(
                f"the unit is the {terms.unit}, but nothing says whose each record is; nothing "
                "was computed"
            )
        units = np.arange(len(labels))
    return Site(
        learner=learner,
        gradients=gradients,
        activations=activations,
        labels=labels,
        units=units,
        weights=weights,
    )


def sampled_sum(site: Site, *, terms: LocalTerms, noise: NoiseSource) -> ClippedSum:
    """Return the sum over a fresh Poisson sample of the site's units, as `terms` clip it."""
    sampled = poisson_sample(noise, count=site.unit_count, rate=terms.sampling_rate)
    return unit_sum(site, sampled, terms=terms)


def poisson_sample(noise: NoiseSource, *, count: int, rate: float) -> NDArray[np.intp]:
    """Return the units of a Poisson sample: each of `count` joins independently with `rate`."""
    return np.flatnonzero(noise.uniform(count) < rate)


def private_mean(total: Tensor, mask: Tensor, *, terms: LocalTerms, noise: NoiseSource) -> Tensor:
    """Return (total + noise) / expected batch, float32, shape (p,): the only released quantity.

    Args:
        total: float64, or int64 grid steps under "strict"; zero outside `mask`.
        mask: the coordinates that are trained and noised, shape (p,).
        terms: the noise and the divisor.
        noise: the site's own source.
    """
    draws = terms.mode.draw(noise, size=int(mask.sum()), terms=terms)
    if bool(mask.all()):
        noisy = total + torch.from_numpy(draws)
    else:
        noisy = total.clone()
        noisy[mask] += torch.from_numpy(draws)
    return (noisy.double() / (terms.mode.unit(terms) * terms.expected_batch)).float()


def with_moved_norm(terms: LocalTerms, clipped: ClippedSum, *, noise: NoiseSource) -> LocalTerms:
    """Return the terms of the next step: another clipping norm, where it adapts."""
    if terms.adaptive is None:
        return terms
    norm = terms.adaptive.next_norm(
        terms.clipping_norm,
        short=clipped.units - clipped.clipped - clipped.non_finite,
        units=clipped.units,
        expected=terms.expected_batch,
        draw=float(
            gaussian(noise, size=1, std=terms.adaptive.count_std(terms.noise_multiplier))[0]
        ),
    )
    return dataclasses.replace(terms, clipping_norm=norm)


def _stats(sums: list[ClippedSum]) -> LocalStats:
    records = sum(part.records for part in sums)
    units = sum(part.units for part in sums)
    return LocalStats(
        loss=sum(part.loss for part in sums) / records if records else math.nan,
        clipped_fraction=sum(part.clipped for part in sums) / units if units else 0.0,
        non_finite=sum(part.non_finite for part in sums),
        steps=len(sums),
        empty_steps=sum(part.units == 0 for part in sums),
    )
