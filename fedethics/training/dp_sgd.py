"""One round of DP-SGD at one site.

Guarantee: the update depends on the records only through `steps` releases of
(sum of clipped gradients + N(0, (noise_multiplier * clipping_norm)^2)), over batches that each
record joins independently with probability sampling_rate. Adding or removing one record changes a
sum by at most clipping_norm. What follows (mean, optimiser, difference) is post-processing.
Source: Abadi et al. 2016, algorithm 1 (arXiv 1607.00133).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedethics.charter.model import Charter
from fedethics.errors import TrainingError
from fedethics.privacy.noise import NoiseSource
from fedethics.training.activations import Activations
from fedethics.training.gaussian import gaussian
from fedethics.training.learner import Learner
from fedethics.training.per_sample import PerSampleGradients

# Keeps a clipped gradient below the norm whatever float32 rounds up.
_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalTerms:
    """Terms of one round at one site.

    Attributes:
        steps: optimiser steps; each is one release, also when no record was sampled.
        sampling_rate: probability that a record joins a step.
        clipping_norm: L2 bound of one record's gradient; infinite only without noise.
        noise_multiplier: noise std over clipping norm; 0.0 is no differential privacy.
        expected_batch: sampling_rate times the site's declared records; divides every sum. The
            batch that was drawn must not, since its size is private.
        optimizer: starts fresh in every round.
        momentum: of "sgd"; unused by "adam".
        physical_batch: records computed at once; bounds memory, changes no result.
    """

    steps: int
    sampling_rate: float
    clipping_norm: float
    noise_multiplier: float
    expected_batch: float
    optimizer: Literal["sgd", "adam"]
    learning_rate: float
    momentum: float = 0.0
    physical_batch: int = 64

    def __post_init__(self) -> None:
        """Refuse terms under which the guarantee would not hold."""
        sound = (
            self.steps >= 1
            and 0.0 < self.sampling_rate <= 1.0
            and self.clipping_norm > 0.0
            and 0.0 <= self.noise_multiplier < math.inf
            and self.expected_batch > 0.0
            and self.physical_batch >= 1
            and (self.noise_multiplier == 0.0 or math.isfinite(self.clipping_norm))
        )
        if not sound:
            raise TrainingError(f"no DP-SGD with {self}; nothing was computed")

    @classmethod
    def of(cls, charter: Charter, *, noise_multiplier: float, declared_records: int) -> LocalTerms:
        """Return one round's terms at a site of this declared size under `charter`."""
        training, privacy = charter.training, charter.privacy.training
        return cls(
            steps=training.local_steps,
            sampling_rate=privacy.sampling_rate,
            clipping_norm=privacy.clipping_norm,
            noise_multiplier=noise_multiplier,
            expected_batch=privacy.sampling_rate * declared_records,
            optimizer=training.optimizer,
            learning_rate=training.learning_rate,
            momentum=training.momentum,
            physical_batch=training.physical_batch,
        )

    @property
    def noise_std(self) -> float:
        """Standard deviation of the noise on every coordinate of a clipped sum."""
        return self.noise_multiplier * self.clipping_norm if self.noise_multiplier else 0.0


# Sensitive: these numbers carry no noise and stay at the site.
@dataclass(frozen=True, kw_only=True, slots=True)
class LocalStats:
    """What happened in a round, for the site's own log.

    Attributes:
        loss: mean loss over sampled records; nan if there were none.
        clipped_fraction: share of sampled records whose gradient was longer than the norm.
        non_finite: sampled records whose gradient was not finite and counted as zero.
        steps: releases made.
        empty_steps: those of them in which no record was sampled.
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


@dataclass(kw_only=True, slots=True, eq=False)
class ClippedSum:
    """Sum of clipped gradients of a batch, float64, shape (p,), and what was seen on the way."""

    total: Tensor
    loss: float = 0.0
    records: int = 0
    clipped: int = 0
    non_finite: int = 0


def train_round(
    learner: Learner,
    *,
    vector: NDArray[np.float32],
    activations: Activations,
    labels: NDArray[np.int8],
    terms: LocalTerms,
    noise: NoiseSource,
) -> RoundResult:
    """Train `terms.steps` steps from `vector` and return the difference.

    Args:
        learner: the model; used alone for the length of the call.
        vector: received adapter, shape (p,).
        activations: of the site's n training records.
        labels: 0 or 1, shape (n,).
        terms: steps, clipping, noise and optimiser.
        noise: the site's own source, for sampling and for noise; never a seed of the run.

    Raises:
        TrainingError: a guard failed, or the update is not finite. Nothing is released.
    """
    sums: list[ClippedSum] = []
    with learner.lock:
        learner.load(vector)
        optimizer = _optimizer(learner.flat, terms)
        with PerSampleGradients(learner) as gradients:
            for _ in range(terms.steps):
                rows = poisson_sample(noise, count=len(labels), rate=terms.sampling_rate)
                clipped = clipped_sum(gradients, activations, labels, rows=rows, terms=terms)
                mean = private_mean(clipped.total, terms=terms, noise=noise)
                learner.flat.grad = mean.to(learner.flat.device)
                optimizer.step()
                sums.append(clipped)
        learner.flat.grad = None
        update = learner.flat.cpu().numpy() - vector
    if not np.isfinite(update).all():
        raise TrainingError("the update is not finite; nothing was released. Lower learning-rate")
    return RoundResult(update=update, stats=_stats(sums))


def poisson_sample(noise: NoiseSource, *, count: int, rate: float) -> NDArray[np.intp]:
    """Return the rows of a Poisson sample: each of `count` joins independently with `rate`."""
    return np.flatnonzero(noise.uniform(count) < rate)


def clipped_sum(
    gradients: PerSampleGradients,
    activations: Activations,
    labels: NDArray[np.int8],
    *,
    rows: NDArray[np.intp],
    terms: LocalTerms,
) -> ClippedSum:
    """Return the sum over `rows` of gradients clipped to the norm; zero for no rows.

    Guarantee: each record adds a vector of L2 norm at most `terms.clipping_norm`, whatever the
    other records are; a record whose gradient is not finite adds zero.
    """
    result = ClippedSum(total=torch.zeros(gradients.size, dtype=torch.float64))
    for batch in activations.batches(rows, terms.physical_batch):
        samples, losses = gradients(batch, labels)
        norms = torch.linalg.vector_norm(samples, dim=1, dtype=torch.float64)
        finite = torch.isfinite(norms)
        # Not a product with zero: that would keep a NaN, and the NaN would tell of the record.
        samples = torch.where(finite[:, None], samples, 0.0)
        limit = terms.clipping_norm * (1.0 - _ROUNDING)
        # Infinite clipping (no privacy) gives min(1, inf) = 1.
        factors = (limit / norms.clamp(min=1e-30)).clamp(max=1.0).where(finite, 0.0)
        result.total += (factors.to(samples.dtype) @ samples).double().cpu()
        result.loss += float(losses[finite].sum())
        result.records += len(batch.rows)
        result.clipped += int((finite & (norms > limit)).sum())
        result.non_finite += int((~finite).sum())
    return result


def private_mean(total: Tensor, *, terms: LocalTerms, noise: NoiseSource) -> Tensor:
    """Return (total + noise) / expected batch, float32, shape (p,): the only released quantity."""
    draws = gaussian(noise, size=total.numel(), std=terms.noise_std)
    noisy = total + torch.from_numpy(draws)
    return (noisy / terms.expected_batch).float()


def _optimizer(flat: Tensor, terms: LocalTerms) -> torch.optim.Optimizer:
    if terms.optimizer == "adam":
        return torch.optim.Adam([flat], lr=terms.learning_rate)
    return torch.optim.SGD([flat], lr=terms.learning_rate, momentum=terms.momentum)


def _stats(sums: list[ClippedSum]) -> LocalStats:
    records = sum(part.records for part in sums)
    return LocalStats(
        loss=sum(part.loss for part in sums) / records if records else math.nan,
        clipped_fraction=sum(part.clipped for part in sums) / records if records else 0.0,
        non_finite=sum(part.non_finite for part in sums),
        steps=len(sums),
        empty_steps=sum(part.records == 0 for part in sums),
    )
