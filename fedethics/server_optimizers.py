"""How the adapter moves by the mean of an opened sum: plainly, or with memory of earlier rounds.

One object for each optimiser, found by the name that a charter writes. Adding one means a class
here and its name in the registry.

Guarantee: a step reads the opened sums and public terms alone, so it is post-processing: it costs
no epsilon, and anyone who has the sums can repeat it. Each coordinate is computed by itself, by
single IEEE 754 operations in float64 in a fixed order (no power, no sum over coordinates), so that
sites and coordinator get equal bits on every machine.

Sources: Hsu, Qi and Brown 2019 (arXiv 1909.06335) for FedAvgM; Reddi et al. 2021 (arXiv
2003.00295), algorithm 2, for FedAdam and FedYogi.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from fedethics.errors import TrainingError
from fedethics.registry import Registry

if TYPE_CHECKING:
    from fedethics.charter.training_terms import ServerTerms

Vector = NDArray[np.float64]
SECOND_MOMENT = 0.99
TAU = 1e-3


class ServerOptimizer(ABC):
    """One rule. Its memory is a few vectors as long as the adapter, float64, shape (rows, p)."""

    name: ClassVar[str]
    rows: ClassVar[int]
    # Keys of `[training.server]` that it reads besides `optimizer` and `momentum`.
    keys: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def start(self, terms: ServerTerms, size: int) -> Vector:
        """Return the memory before the first round, shape (rows, p)."""

    @abstractmethod
    def moments(self, terms: ServerTerms, mean: Vector, before: Vector) -> Vector:
        """Return the memory after a round, shape (rows, p).

        Args:
            terms: the charter's.
            mean: mean of the opened sum, shape (p,): what plain averaging would add.
            before: the memory before the round, shape (rows, p); it is not changed.
        """

    @abstractmethod
    def change(self, terms: ServerTerms, moments: Vector) -> Vector:
        """Return what to add to the adapter, before the server's rate, shape (p,)."""


class FedAvgM(ServerOptimizer):
    """Momentum: v = momentum * v + mean; the adapter moves by v."""

    name = "fedavgm"
    rows = 1

    def start(self, terms: ServerTerms, size: int) -> Vector:
        """Return a velocity of zero."""
        return np.zeros((self.rows, size))

    def moments(self, terms: ServerTerms, mean: Vector, before: Vector) -> Vector:
        """Return the velocity after a round."""
        after = terms.momentum * before
        after[0] += mean
        return after

    def change(self, terms: ServerTerms, moments: Vector) -> Vector:
        """Return the velocity."""
        return np.array(moments[0])


class _Adaptive(ServerOptimizer):
    """m / (sqrt(v) + tau), with m the mean's moving average and v one of its square's."""

    rows = 2
    keys = ("second_moment", "tau")

    def start(self, terms: ServerTerms, size: int) -> Vector:
        """Return m = 0 and v = tau^2, the least that the algorithm allows."""
        before = np.zeros((self.rows, size))
        before[1] = _tau(terms) * _tau(terms)
        return before

    def moments(self, terms: ServerTerms, mean: Vector, before: Vector) -> Vector:
        """Return both averages after a round."""
        after = np.empty_like(before)
        after[0] = terms.momentum * before[0]
        after[0] += (1.0 - terms.momentum) * mean
        after[1] = self._second(_second_moment(terms), mean * mean, before[1])
        return after

    def change(self, terms: ServerTerms, moments: Vector) -> Vector:
        """Return m / (sqrt(v) + tau)."""
        return np.asarray(moments[0] / (np.sqrt(moments[1]) + _tau(terms)))

    @abstractmethod
    def _second(self, decay: float, square: Vector, before: Vector) -> Vector:
        """Return v after a round, shape (p,)."""


class FedAdam(_Adaptive):
    """v decays towards the square of the mean."""

    name = "fedadam"

    def _second(self, decay: float, square: Vector, before: Vector) -> Vector:
        after = decay * before
        after += (1.0 - decay) * square
        return after


class FedYogi(_Adaptive):
    """v moves by the square of the mean, up or down, so that it falls slowly."""

    name = "fedyogi"

    def _second(self, decay: float, square: Vector, before: Vector) -> Vector:
        moved = (1.0 - decay) * square
        moved *= np.sign(before - square)
        return np.asarray(before - moved)


def _tau(terms: ServerTerms) -> float:
    return TAU if terms.tau is None else terms.tau


def _second_moment(terms: ServerTerms) -> float:
    return SECOND_MOMENT if terms.second_moment is None else terms.second_moment


_KNOWN: Registry[ServerOptimizer] = Registry(
    "server optimizer", TrainingError, FedAvgM(), FedAdam(), FedYogi()
)
register, server_optimizer_names, find_server_optimizer = (
    _KNOWN.register, _KNOWN.names, _KNOWN.find,
)  # fmt: skip
