"""What is counted of one held-out record: the measure that a task gives to layout and metrics.

A measure has two tables in each cell of groups. In `decisions`, a record stands in one entry; the
table's first axis is the record's target. In the histogram, the record's score stands in one bin of
one row. So one record more or less changes each table by one, in one entry: `tabulate` refuses a
measure that answers otherwise, and the noise of the charter's plan rests on it.

A number that is bounded (a loss, a share of tokens) is counted as a score: by its bin.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, ClassVar, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedethics.errors import FairnessError
from fedethics.fairness.metrics import (
    FRACTIONS,
    JACCARD,
    Fraction,
    Metric,
    metric_names,
)

FloatArray: TypeAlias = NDArray[np.float64]


class BinValues(NamedTuple):
    """f(row, score) on each bin, shape (rows, bins): least, at the middle, greatest."""

    least: FloatArray
    middle: FloatArray
    greatest: FloatArray


class Targets(NamedTuple):
    """Records as a measure has checked them.

    Attributes:
        target: number of each record's target, int64, shape (n,).
        score: what is binned of it, float64 in [0, 1], shape (n,).
        decision: number of the decision taken, int64, shape (n,).
    """

    target: NDArray[np.int64]
    score: FloatArray
    decision: NDArray[np.int64]


class Deciding(NamedTuple):
    """What is decided of one record, as the tables count it.

    Attributes:
        fields: names of what is told, in their order.
        of: from one record's scores, shape () or (columns,), to these fields.
    """

    fields: tuple[str, ...]
    of: Callable[[FloatArray], Mapping[str, float | str]]


class Average(NamedTuple):
    """The mean of several rates.

    Attributes:
        parts: the rates' names, at least one.
        independent: whether they are rates of different people.
    """

    parts: tuple[str, ...]
    independent: bool


class Measured(ABC):
    """What is counted of a record, and which rates follow from the counts.

    Attributes:
        rows: rows of a cell's histogram: one for each target, or 1 for all together.
        thresholded: whether each record has one score, and the decision is whether it reaches the
            charter's threshold. Swapped words, group thresholds and weights need that.
        values: numbers between bounds, by name: from scores, and where the charter cuts, to
            numbers in [0, 1], shape (n,), greater for greater ones.
        means: for means over the histogram, by the metric's name: from bin edges, shape
            (bins + 1,), to the value on each bin.
    """

    rows: ClassVar[int]
    thresholded: ClassVar[bool] = False
    means: ClassVar[Mapping[str, Callable[[FloatArray], BinValues]]] = {}
    values: ClassVar[Mapping[str, Callable[[FloatArray, float], FloatArray]]] = {}

    @property
    @abstractmethod
    def decisions(self) -> tuple[int, int]:
        """Shape of a cell's decisions: targets, then decisions; (1, 1) counts records."""

    @property
    @abstractmethod
    def rates(self) -> Mapping[str, Fraction]:
        """Fractions over entries of the decisions, by the metric's name."""

    @property
    def averages(self) -> Mapping[str, Average]:
        """Means of rates, by the metric's name."""
        return {}

    @property
    def jaccards(self) -> Mapping[str, Fraction]:
        """Of F1 scores, by the metric's name: the Jaccard fraction, see `metrics.JACCARD`."""
        return {}

    def most_given(self, _counts: FloatArray) -> Fraction | None:
        """Return the share of people who may have been given the answer that most were given.

        None where that is unknown. Where a threshold decides, `selection_rate` gives it.

        Args:
            _counts: of everyone, shape `decisions`.
        """
        return None

    @abstractmethod
    def read(self, targets: ArrayLike, scores: ArrayLike, *, threshold: float) -> Targets:
        """Check what a site hands over and say what was decided of each record.

        Args:
            targets: the number of each record's target, shape (n,).
            scores: what the model answers, as the task's reader gives it: (n,) or (n, columns).
            threshold: the charter's.

        Raises:
            FairnessError: not what this measure reads. Says how many records, never which.
        """

    @abstractmethod
    def sureness(self, targets: NDArray[np.int64], scores: FloatArray) -> FloatArray:
        """Return how sure the model is of each record's target, in [0, 1], shape (n,)."""

    def chosen(self, scores: FloatArray, *, threshold: float) -> NDArray[np.int64]:
        """Return the number of the class that is decided for each record, shape (n,).

        Args:
            scores: what the model answers, as the task's reader gives it.
            threshold: the charter's.

        Raises:
            FairnessError: nothing is decided by this measure.
        """
        del scores, threshold  # for kinds that decide
        raise FairnessError("this task decides nothing of a record, so nothing can flip")

    def deciding(self, names: Sequence[str], *, threshold: float) -> Deciding | None:
        """Return how one record is decided from its scores; None where nothing is decided.

        Args:
            names: of the classes, in the order of their numbers.
            threshold: the charter's.
        """
        del names, threshold  # for kinds that decide
        return None

    @property
    def entries(self) -> int:
        """Entries of a cell's decisions."""
        return math.prod(self.decisions)

    @property
    def metrics(self) -> frozenset[str]:
        """The rates that the tables answer, without those of swapped words."""
        named = (self.rates, self.averages, self.jaccards, self.means)
        return frozenset({"count", *(name for each in named for name in each)})

    @property
    def listed(self) -> tuple[str, ...]:
        """The names in `metrics` as a message lists them."""
        return tuple(sorted(self.metrics))

    def bases(self, metric: Metric) -> tuple[str, ...]:
        """Return the rates that a comparison of groups is about: the worst of them counts."""
        return metric.bases

    def between(self, _features: Sequence[str]) -> Measured:
        """Return what is compared between the groups of these features."""
        return self

    def answers(self, metric: Metric) -> bool:
        """Return whether a metric follows from these tables."""
        if metric.swapped:
            return self.thresholded
        return set(self.bases(metric) or (metric.name,)) <= self.metrics

    def require(self, name: str) -> None:
        """Refuse a rate that these tables hold no sums for.

        Raises:
            FairnessError: names those that they answer.
        """
        if name not in self.metrics:
            raise FairnessError(
                f"{name!r} does not follow from what this task measures; it measures "
                f"{', '.join(self.listed)}"
            )


def score_of(edges: FloatArray, *, rows: int = 1) -> BinValues:
    """Return the score itself on each bin, the same in each row."""
    low, high = edges[:-1], edges[1:]
    return BinValues(*(np.tile(each, (rows, 1)) for each in (low, (low + high) / 2, high)))


def _error(power: int) -> Callable[[FloatArray], BinValues]:
    def values(edges: FloatArray) -> BinValues:
        low, high = edges[:-1], edges[1:]
        middle = (low + high) / 2
        # For label 0 the error is the score, for label 1 what it lacks to 1.
        near, far = np.stack([low, 1.0 - high]), np.stack([high, 1.0 - low])
        return BinValues(near**power, np.stack([middle, 1.0 - middle]) ** power, far**power)

    return values


class TwoClasses(Measured):
    """Label and decision, and the score of the positive label by label: counts[y, yhat]."""

    decisions: ClassVar[tuple[int, int]] = (2, 2)
    rows: ClassVar[int] = 2
    thresholded: ClassVar[bool] = True
    rates: ClassVar[Mapping[str, Fraction]] = FRACTIONS
    # Positives and negatives are different people.
    averages: ClassVar[Mapping[str, Average]] = {
        "balanced_accuracy_score": Average(("true_positive_rate", "true_negative_rate"), True)
    }
    jaccards: ClassVar[Mapping[str, Fraction]] = {"f1_score": JACCARD}
    means: ClassVar[Mapping[str, Callable[[FloatArray], BinValues]]] = {
        "mean_prediction": partial(score_of, rows=2),
        "mean_absolute_error": _error(1),
        "mean_squared_error": _error(2),
    }

    def read(self, targets: ArrayLike, scores: ArrayLike, *, threshold: float) -> Targets:
        """Take labels 0 and 1, and the probability of 1: positive where score >= threshold."""
        label, score = checked_numbers(targets, scores)
        refuse_some((label != 0) & (label != 1), "labels are neither 0 nor 1")
        refuse_outside(score)
        return Targets(label.astype(np.int64), score, (score >= threshold).astype(np.int64))

    def chosen(self, scores: FloatArray, *, threshold: float) -> NDArray[np.int64]:
        """Return 1 where the score reaches the threshold."""
        return (scores >= threshold).astype(np.int64)

    def deciding(self, names: Sequence[str], *, threshold: float) -> Deciding:
        """Tell the probability of the positive label; positive where it reaches the threshold."""
        return Deciding(
            fields=("score", "decision"),
            of=lambda score: {"score": float(score), "decision": names[int(score >= threshold)]},
        )

    def sureness(self, targets: NDArray[np.int64], scores: FloatArray) -> FloatArray:
        """Return the probability of the true label."""
        return np.where(targets == 1, scores, 1.0 - scores)

    @property
    def metrics(self) -> frozenset[str]:
        """All rates of the registry but those that other tasks bring."""
        return _own_rates()


@cache
def _own_rates() -> frozenset[str]:
    # What tasks bring later is marked as brought, so this stays as it is.
    return frozenset(metric_names("rate"))


TWO_CLASSES = TwoClasses()


def checked_numbers(targets: ArrayLike, scores: ArrayLike) -> tuple[NDArray[Any], FloatArray]:
    """Return targets and scores as arrays of one length.

    Raises:
        FairnessError: they are of another shape, or a score is not a number.
    """
    target, score = np.asarray(targets), np.asarray(scores, dtype=np.float64)
    if target.ndim != 1 or score.shape[:1] != target.shape or score.ndim != 1:
        raise FairnessError(
            f"labels of shape {target.shape} and scores of shape {score.shape}: both must be (n,)"
        )
    return target, score


def refuse_outside(score: FloatArray) -> None:
    """Refuse scores that are no number from 0 to 1."""
    refuse_some(np.isnan(score), "scores are not a number")
    refuse_some((score < 0.0) | (score > 1.0), "scores are outside [0, 1]")


def refuse_some(wrong: NDArray[np.bool_], what: str) -> None:
    """Refuse all records where some are `wrong`.

    Sensitive: only the count is given; an index or a value would reveal one record.
    """
    if wrong.any():
        raise FairnessError(
            f"{int(wrong.sum())} of {wrong.size} {what}; nothing was tabulated or sent. "
            "Correct the data or the charter's declaration"
        )
