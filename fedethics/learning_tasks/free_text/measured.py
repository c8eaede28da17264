"""What is counted of a held-out record whose own tokens a model predicts.

Each token is predicted after the record's own tokens before it. A record stands in one entry of the
decisions (whether each first guess was right) and in one bin of the histogram (the geometric mean
of its tokens' probabilities, which is exp of minus its mean loss): both change by one with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedethics.errors import FairnessError
from fedethics.fairness.measured import (
    BinValues,
    FloatArray,
    Measured,
    Targets,
    refuse_outside,
    refuse_some,
    score_of,
)
from fedethics.fairness.metrics import Fraction
from fedethics.learning_tasks.free_text import LOSS_CAP

# What `FreeTextReader.scores` gives of a record.
PROBABILITY, ACCURACY, EXACT = range(3)


def _loss(edges: FloatArray) -> BinValues:
    with np.errstate(divide="ignore"):
        loss = np.minimum(-np.log(edges), LOSS_CAP)
        middle = np.minimum(-np.log((edges[:-1] + edges[1:]) / 2), LOSS_CAP)
    # The loss falls where the probability rises.
    return BinValues(loss[None, 1:], middle[None], loss[None, :-1])


def _accuracy(scores: FloatArray, _largest: float) -> FloatArray:
    return scores[:, ACCURACY]


def _token_loss(scores: FloatArray, largest: float) -> FloatArray:
    with np.errstate(divide="ignore"):
        loss: FloatArray = np.minimum(-np.log(scores[:, PROBABILITY]), largest)
    return loss / largest


class TokensMeasured(Measured):
    """Exact or not, and one histogram of token probabilities."""

    decisions: ClassVar[tuple[int, int]] = (1, 2)
    rows: ClassVar[int] = 1
    rates: ClassVar[Mapping[str, Fraction]] = {
        "exact_match": Fraction(hits=((0, 1),), misses=((0, 0),)),
    }
    means: ClassVar[Mapping[str, Callable[[FloatArray], BinValues]]] = {
        "mean_token_probability": score_of,
        "mean_token_loss": _loss,
    }
    values: ClassVar[Mapping[str, Callable[[FloatArray, float], FloatArray]]] = {
        "token_accuracy": _accuracy,
        "token_loss": _token_loss,
    }

    def read(self, targets: ArrayLike, scores: ArrayLike, *, threshold: float) -> Targets:
        """Take each record's token probability, and whether all its tokens were guessed."""
        target, score = np.asarray(targets), np.asarray(scores, dtype=np.float64)
        if score.shape != (len(target), 3) or target.ndim != 1:
            raise FairnessError(
                f"scores of shape {score.shape} for {target.shape} records: expected (n, 3)"
            )
        refuse_some(target != 0, "targets are not 0, as this task's all are")
        refuse_outside(score[:, PROBABILITY])
        exact = score[:, EXACT]
        refuse_some((exact != 0) & (exact != 1), "records are neither exact nor not")
        return Targets(target.astype(np.int64), score[:, PROBABILITY], exact.astype(np.int64))

    def sureness(self, _targets: NDArray[np.int64], scores: FloatArray) -> FloatArray:
        """Return the geometric mean of each record's token probabilities."""
        return scores[:, PROBABILITY]


TOKENS = TokensMeasured()
