"""From the group counts of one round to the weights of the next.

Three rules, each on opened counts[group, y, yhat] of the *training* records under the adapter that
the round starts from:

* reweighing (Kamiran and Calders 2012, section 4.1): w[g, y] = P(g) P(y) / P(g, y), once; makes
  group and label independent under the weights.
* dual ascent: lambda[g, y] grows by the step times (error of g among y, less everyone's), and the
  weight is 1 + lambda. It is the multiplier update for "every group's error among y equals
  everyone's" (equalized odds; Agarwal et al. 2018, section 3), with weights in place of a
  reduction; FedFB (Zeng et al. 2021, arXiv 2110.15545) updates alike from summed losses.
* group DRO (Sagawa et al. 2020, arXiv 1911.08731, algorithm 1): q[g] grows by the factor
  exp(step * error of g), and the weight is q[g] over the group's share. The error is the share
  judged wrongly: the sums that are there anyway, and no further noise for losses.

Noise must not steer: an error's distance from everyone's is shrunk by 1 - (its standard error over
it)^2, to 0 where noise and chance explain it (positive-part James and Stein 1961). Weights are kept
within [1/most, most], and their mean over people at 1, so that the learning rate keeps its meaning.

Weights of groups in the training loss.

Guarantee: weights change no privacy guarantee. They are computed from opened, noised sums, so they
are the output of mechanisms charged already; a record's weight depends on its own group and label
and on those public numbers, never on another record; and its weighted gradient is clipped to the
same norm. So a step's sensitivity is what it was (argument in docs/fairness.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedethics.errors import FairnessError
from fedethics.fairness.partition import FloatArray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GroupWeights:
    """A positive weight for each group of one partition and each label.

    Attributes:
        table: float64, shape (groups, 2): weight of a record by group and label.

    Raises:
        FairnessError: not of that shape, not finite, or not above 0.
    """

    table: NDArray[np.float64]

    def __post_init__(self) -> None:
        table = self.table
        if table.ndim != 2 or table.shape[1] != 2 or not np.isfinite(table).all():
            raise FairnessError(f"group weights of shape {table.shape} must be finite, (groups, 2)")
        if not (table > 0).all():
            raise FairnessError("group weights must be above 0; nothing was trained with them")

    @classmethod
    def even(cls, groups: int) -> GroupWeights:
        """Return weights that change nothing."""
        return cls(table=np.ones((groups, 2)))

    def of(self, groups: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
        """Return each record's weight, shape (n,), from its group index and its label."""
        weights: NDArray[np.float64] = self.table[np.asarray(groups), np.asarray(labels)]
        return weights


WeightRule: TypeAlias = Literal["reweighing", "dual-ascent", "group-dro"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Steering:
    """The charter's terms for weights.

    Attributes:
        rule: which of the three.
        step: how fast multipliers move; unused by reweighing.
        most: greatest weight; its inverse is the least.
    """

    rule: WeightRule
    step: float
    most: float

    @property
    def once(self) -> bool:
        """Whether one table before the first round is all that the rule needs."""
        return self.rule == "reweighing"


def first_weights(groups: int) -> GroupWeights:
    """Return the weights before anything was opened."""
    return GroupWeights.even(groups)


def next_weights(
    previous: GroupWeights, counts: NDArray[np.int64], *, variance: float, steering: Steering
) -> GroupWeights:
    """Return the next round's weights.

    Args:
        previous: the weights of the round before.
        counts: opened counts[group, y, yhat], shape (groups, 2, 2), with noise.
        variance: noise variance of each entry.
        steering: rule, step and bounds.
    """
    # One record at least, so that an empty cell gives a finite weight; noise may be below 0.
    people = np.maximum(counts.sum(axis=2).astype(np.float64), 1.0)
    raw = _RULES[steering.rule](
        previous.table, counts.astype(np.float64), people, variance, steering
    )
    return GroupWeights(table=_bounded(raw, people, steering.most))


def _reweighed(
    _previous: FloatArray, _counts: FloatArray, people: FloatArray, *_: object
) -> FloatArray:
    total = people.sum()
    by_group, by_label = people.sum(axis=1, keepdims=True), people.sum(axis=0, keepdims=True)
    weights: FloatArray = by_group * by_label / (total * people)
    return weights


def _ascended(
    previous: FloatArray,
    counts: FloatArray,
    people: FloatArray,
    variance: float,
    steering: Steering,
) -> FloatArray:
    wrong = np.stack([counts[:, 0, 1], counts[:, 1, 0]], axis=1)
    error = np.clip(wrong / people, 0.0, 1.0)
    everyone = np.clip(wrong.sum(axis=0) / people.sum(axis=0), 0.0, 1.0)
    moved: FloatArray = previous + steering.step * _shrunk(
        error - everyone, error, people, variance
    )
    return moved


def _robust(
    previous: FloatArray,
    counts: FloatArray,
    people: FloatArray,
    variance: float,
    steering: Steering,
) -> FloatArray:
    size = people.sum(axis=1)
    wrong = counts[:, 0, 1] + counts[:, 1, 0]
    error = np.clip(wrong / size, 0.0, 1.0)
    everyone = float(np.clip(wrong.sum() / size.sum(), 0.0, 1.0))
    excess = _shrunk(error - everyone, error, size, 2.0 * variance)
    grown: FloatArray = previous * np.exp(steering.step * excess)[:, None]
    return grown


_RULES: dict[WeightRule, Callable[..., FloatArray]] = {
    "reweighing": _reweighed,
    "dual-ascent": _ascended,
    "group-dro": _robust,
}


def _shrunk(
    distance: FloatArray, error: FloatArray, people: FloatArray, variance: float
) -> FloatArray:
    # A share of 0 or 1 still has the uncertainty of one record.
    chance = np.maximum(error * (1.0 - error), 1.0 / (people + 2.0)) / people
    noise = variance * ((1.0 - error) ** 2 + error**2) / people**2
    squared = np.maximum(distance**2, 1e-12)
    kept: FloatArray = distance * np.maximum(1.0 - (chance + noise) / squared, 0.0)
    return kept


def _bounded(raw: FloatArray, people: FloatArray, most: float) -> FloatArray:
    """Return the weights within their bounds, with mean 1 over people as far as they allow."""
    weights = np.clip(raw, 1.0 / most, most)
    for _ in range(8):
        weights = np.clip(weights * people.sum() / (weights * people).sum(), 1.0 / most, most)
    return weights
