"""What is counted of a held-out pair: whether the chosen answer is preferred, and how surely.

A pair stands in one entry of the decisions and in one bin of the histogram: both change by one with
it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedethics.fairness.measured import (
    BinValues,
    FloatArray,
    Measured,
    Targets,
    checked_numbers,
    refuse_outside,
    refuse_some,
    score_of,
)
from fedethics.fairness.metrics import Fraction


def _margin(scores: FloatArray, largest: float) -> FloatArray:
    """Return where the sigmoid's argument lies between minus and plus `largest`."""
    with np.errstate(divide="ignore"):
        margin = np.log(scores) - np.log1p(-scores)
    return (margin.clip(-largest, largest) + largest) / (2 * largest)


class PairsMeasured(Measured):
    """Preferred or not, and one histogram of the sigmoid of the reward margin."""

    decisions: ClassVar[tuple[int, int]] = (1, 2)
    rows: ClassVar[int] = 1
    rates: ClassVar[Mapping[str, Fraction]] = {
        "preference_accuracy": Fraction(hits=((0, 1),), misses=((0, 0),)),
    }
    means: ClassVar[Mapping[str, Callable[[FloatArray], BinValues]]] = {
        "mean_preference_probability": score_of,
    }
    values: ClassVar[Mapping[str, Callable[[FloatArray, float], FloatArray]]] = {
        "preference_margin": _margin,
    }

    def read(self, targets: ArrayLike, scores: ArrayLike, *, threshold: float) -> Targets:
        """Take each pair's probability; above one half, the chosen answer is preferred."""
        target, score = checked_numbers(targets, scores)
        refuse_some(target != 0, "targets are not 0, as this task's all are")
        refuse_outside(score)
        return Targets(target.astype(np.int64), score, (score > 0.5).astype(np.int64))

    def sureness(self, _targets: NDArray[np.int64], scores: FloatArray) -> FloatArray:
        """Return the probability that the chosen answer is preferred."""
        return scores


PAIRS = PairsMeasured()
