"""Optimisers over one vector, each a function of noised means alone: post-processing.

Written out here, since the vector is one tensor, some coordinates stay still in a round, and the
bias correction needs the noise's variance, which a general library cannot know. Each is held to
torch's own, or to its paper's equations, by a test.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from fedethics.training.local_terms import LocalTerms

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


class Optimizer(Protocol):
    """One round's optimiser; it starts fresh in every round."""

    def step(self, vector: Tensor, mean: Tensor) -> Tensor:
        """Return what to add to `vector`, shape (p,), given a noised mean gradient, shape (p,)."""


def optimizer_of(terms: LocalTerms) -> Optimizer:
    """Return a fresh optimiser of the kind that `terms` name."""
    rate = terms.learning_rate
    if terms.optimizer == "sgd":
        return Sgd(rate, momentum=terms.momentum)
    if terms.optimizer == "adam-bc":
        return Adam(rate, noise_std=terms.noise_std / terms.expected_batch)
    return Adam(rate, decay=terms.weight_decay if terms.optimizer == "adamw" else 0.0)


class Sgd:
    """Gradient descent with momentum, as torch.optim.SGD."""

    def __init__(self, rate: float, *, momentum: float) -> None:
        self._rate, self._momentum = rate, momentum
        self._velocity: Tensor | None = None

    def step(self, _vector: Tensor, mean: Tensor) -> Tensor:
        """Return minus the rate times the velocity."""
        past = self._velocity
        self._velocity = mean.clone() if past is None else self._momentum * past + mean
        return -self._rate * self._velocity


class Adam:
    """Adam; with decoupled decay AdamW; with the noise's std known, DP-AdamBC.

    The noise adds its variance to the second moment, which makes Adam's steps too small and alike.
    DP-AdamBC subtracts it. Where little is left, the root would be of next to nothing: it is taken
    of at least (noise_std / 10)^2, in place of the small constant.

    Sources: Kingma and Ba 2015; Loshchilov and Hutter 2019; Tang, Shpilevskiy and Lecuyer 2023
    (arXiv 2312.14334), algorithm 1: m / sqrt(max(v - std^2, floor)).
    """

    def __init__(self, rate: float, *, decay: float = 0.0, noise_std: float = 0.0) -> None:
        self._rate, self._decay = rate, decay
        self._variance = noise_std * noise_std
        self._floor = self._variance / 100.0
        self._first: Tensor | None = None
        self._second: Tensor | None = None
        self._count = 0

    def step(self, vector: Tensor, mean: Tensor) -> Tensor:
        """Return one step of Adam from the moments of all means so far."""
        first = torch.zeros_like(mean) if self._first is None else self._first
        second = torch.zeros_like(mean) if self._second is None else self._second
        self._count += 1
        self._first = _BETAS[0] * first + (1 - _BETAS[0]) * mean
        self._second = _BETAS[1] * second + (1 - _BETAS[1]) * mean.square()
        unbiased = self._first / (1 - _BETAS[0] ** self._count)
        square = self._second / (1 - _BETAS[1] ** self._count)
        if self._variance:
            root = (square - self._variance).clamp(min=self._floor).sqrt()
        else:
            root = square.sqrt() + _EPSILON
        return -self._rate * (unbiased / root + self._decay * vector)
