"""Canaries through the steps that sites train with, and what came out of them.

A canary is a made-up unit whose gradient is one coordinate, ten times the clipping norm long, so
that clipping must cut it. Each is in the training data with probability 1/2. Steps are taken by the
functions of dp_sgd.py: Poisson sample, clipping, sum, noise. What comes out at a canary's
coordinate says whether it was in; coordinates without one show the noise alone. Canaries do not
touch each other, so one run is as good as many.

Source: Dirac canaries: Nasr et al. 2023 (arXiv 2302.07956).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fedethics.data.records import Targets
from fedethics.privacy.noise import NoiseSource
from fedethics.training.activations import ALONE, Activations, Batch
from fedethics.training.clipping import Site
from fedethics.training.dp_sgd import private_mean, sampled_sum, with_moved_norm
from fedethics.training.factors import trained_coordinates
from fedethics.training.learner import Learner
from fedethics.training.local_terms import LocalTerms
from fedethics.training.per_sample import Sampled

_STRETCH = 10.0


class _Canaries:
    """The gradients of the canaries that are in; what clipping asks of an engine."""

    def __init__(self, size: int, places: NDArray[np.intp], length: float) -> None:
        self._size, self._places, self._length = size, torch.from_numpy(places), length

    @property
    def size(self) -> int:
        return self._size

    def each(
        self, activations: Activations, rows: NDArray[np.intp], _labels: Targets
    ) -> Iterator[tuple[Batch, Sampled]]:
        for batch in activations.batches(rows, lambda _: ALONE):
            samples = torch.zeros(1, self._size)
            samples[0, self._places[batch.rows]] = self._length
            yield batch, (samples, torch.zeros(1))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CanaryRun:
    """What came out, in clipping norms.

    Attributes:
        inside: which canaries were in, shape (m,).
        score: sum over the steps at each canary's coordinate, shape (m,).
        background: mean square of one step at coordinates without a canary.
        draws: numbers that `background` is the mean of.
        sampled: canaries sampled in each step, shape (steps,).
    """

    inside: NDArray[np.bool_]
    score: NDArray[np.float64]
    background: float
    draws: int
    sampled: NDArray[np.int64]

    @classmethod
    def of(
        cls, learner: Learner, terms: LocalTerms, *, noise: NoiseSource, canaries: int, steps: int
    ) -> CanaryRun:
        """Take the steps.

        Args:
            learner: whose coordinates are trained; the model itself computes nothing.
            terms: of a round at a site.
            noise: a fresh source, as a site's.
            canaries: how many; at most half of the trained coordinates are used.
            steps: how many.
        """
        mask = trained_coordinates(learner, terms.frozen)
        trained = np.flatnonzero(mask)
        order = np.argsort(noise.uniform(len(trained)))
        count = min(canaries, len(trained) // 2)
        places, others = trained[order[:count]], trained[order[count:]]
        inside = noise.uniform(count) < 0.5
        members = places[inside]
        site = Site(
            learner=learner,
            gradients=_Canaries(learner.size, members, _STRETCH * terms.clipping_norm),
            activations=Activations((torch.zeros(1),) * len(members)),
            labels=np.zeros(len(members), dtype=np.int16),
            units=np.arange(len(members)),
        )
        score, squares = np.zeros(count), 0.0
        sampled: list[int] = []
        chosen, current = torch.from_numpy(mask), terms
        for _ in range(steps):
            clipped = sampled_sum(site, terms=current, noise=noise)
            mean = private_mean(clipped.total, chosen, terms=current, noise=noise)
            seen = mean.double().numpy() * terms.expected_batch / current.clipping_norm
            score += seen[places]
            squares += float(np.square(seen[others]).sum())
            sampled.append(clipped.units)
            current = with_moved_norm(current, clipped, noise=noise)
        draws = steps * len(others)
        return cls(
            inside=inside,
            score=score,
            background=squares / draws,
            draws=draws,
            sampled=np.array(sampled, dtype=np.int64),
        )

    @property
    def steps(self) -> int:
        """Steps taken."""
        return len(self.sampled)
