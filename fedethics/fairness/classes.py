"""What is counted of a record that is in one of several classes, none of which is "positive".

Up to `FULL_TABLE` classes, a record stands in one entry of class and decision, K x K: rates of each
class against all others follow, as do their means. Beyond, noise on K^2 entries would drown what
they say (everyone's accuracy would carry K times an entry's standard deviation), so a record stands
in one entry of class and hit or miss, K x 2: accuracy and each class's recall follow, and what
rests on which class was decided instead (selection rates, precision) does not.

Either way a record stands in one entry of the table, and in one bin of the histogram of the score
of its true class: the sensitivity of each block is 1.

The decision is the class with the highest score; of equal scores, the first in the charter's order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedethics.errors import FairnessError
from fedethics.fairness.measured import (
    Average,
    BinValues,
    Deciding,
    FloatArray,
    Measured,
    Targets,
    refuse_outside,
    refuse_some,
    score_of,
)
from fedethics.fairness.metrics import FRACTIONS, JACCARD, PER_CLASS, Fraction, Metric, of_class

# Most classes of which every pair of class and decision is counted.
FULL_TABLE = 10
_OF_HITS = ("recall_score", "true_positive_rate", "false_negative_rate")
_Entries = tuple[tuple[int, int], ...]


class _Rates(NamedTuple):
    rates: Mapping[str, Fraction]
    jaccards: Mapping[str, Fraction]
    averages: Mapping[str, Average]


@dataclass(frozen=True)
class Classes(Measured):
    """Class and decision of a record, and the score of its true class.

    Attributes:
        names: of the classes, in the order of their numbers; at least two.
        incomparable: feature and class, where some group of the feature cannot have the class.
        left_out: classes that means and worst classes leave out: see `between`.
    """

    names: tuple[str, ...]
    incomparable: tuple[tuple[str, str], ...] = ()
    left_out: frozenset[str] = frozenset()

    rows: ClassVar[int] = 1
    means: ClassVar[Mapping[str, Callable[[FloatArray], BinValues]]] = {"mean_true_score": score_of}

    @property
    def decisions(self) -> tuple[int, int]:
        """(K, K) up to `FULL_TABLE` classes, (K, 2) beyond: miss, then hit."""
        count = len(self.names)
        return count, count if self.full else 2

    @property
    def full(self) -> bool:
        """Whether each pair of class and decision has an entry of its own."""
        return len(self.names) <= FULL_TABLE

    @property
    def rates(self) -> Mapping[str, Fraction]:
        """Accuracy, and rates of each class against all others."""
        return _rates(self.names).rates

    @property
    def jaccards(self) -> Mapping[str, Fraction]:
        """Of each class's F1 score, where decisions are counted."""
        return _rates(self.names).jaccards

    @property
    def averages(self) -> Mapping[str, Average]:
        """Means over the classes, without those left out."""
        averages = _rates(self.names).averages
        if not self.left_out:
            return averages
        return {
            name: mean._replace(parts=tuple(part for part in mean.parts if self._compared(part)))
            for name, mean in averages.items()
        }

    def between(self, features: Sequence[str]) -> Classes:
        """Leave out classes that a group cannot have: a gap would be one of what groups are."""
        gone = frozenset(name for feature, name in self.incomparable if feature in features)
        return replace(self, left_out=gone) if gone else self

    def _compared(self, rate: str) -> bool:
        return not any(rate.endswith(f"[{name}]") for name in self.left_out)

    def most_given(self, counts: FloatArray) -> Fraction:
        """Return the share who were given the class that most were given, or may have been.

        A hit in another class was not given it; of misses it is known only in the full table.
        """
        count = len(self.names)
        if self.full:
            k = int(counts.sum(axis=0).argmax())
            return self.rates[of_class("selection_rate", self.names[k])]
        k = int(counts[:, 1].argmax())
        other = _pairs((y for y in range(count) if y != k), (1,))
        return Fraction(hits=(*_pairs(range(count), (0,)), (k, 1)), misses=other)

    @property
    def listed(self) -> tuple[str, ...]:
        """Rates of a class are listed once, for any class."""
        plain = [name for name in self.metrics if "[" not in name]
        each = PER_CLASS if self.full else _OF_HITS
        return (*sorted(plain), *sorted(of_class(rate, "CLASS") for rate in each))

    def bases(self, metric: Metric) -> tuple[str, ...]:
        """Return the rates of every class where a comparison names none."""
        return tuple(
            name
            for base in metric.bases
            for name in (
                (base,) if base not in PER_CLASS else (of_class(base, each) for each in self.names)
            )
            if self._compared(name) or metric.name.endswith("]")
        )

    def read(self, targets: ArrayLike, scores: ArrayLike, *, threshold: float) -> Targets:
        """Take class numbers, and one score for each class, shape (n, K); no threshold decides."""
        target, score = np.asarray(targets), np.asarray(scores, dtype=np.float64)
        count = len(self.names)
        if target.shape == (0,) and score.size == 0:
            score = score.reshape(0, count)
        if target.ndim != 1 or score.shape != (len(target), count):
            raise FairnessError(
                f"labels of shape {target.shape} and scores of shape {score.shape}: they must be "
                f"(n,) and (n, {count}), one score for each class"
            )
        known = np.isin(target, np.arange(count))
        refuse_some(~known, f"labels are no whole number from 0 to {count - 1}")
        number = target.astype(np.int64)
        refuse_some(np.isnan(score), "scores are not a number")
        refuse_outside(score)
        chosen = self.chosen(score, threshold=threshold)
        decision = chosen if self.full else (chosen == number).astype(np.int64)
        return Targets(number, self.sureness(number, score), decision)

    def chosen(self, scores: FloatArray, *, threshold: float) -> NDArray[np.int64]:
        """Return the class with the highest score, of equal ones the first."""
        del threshold
        decided: NDArray[np.int64] = scores.reshape(-1, len(self.names)).argmax(axis=1)
        return decided.astype(np.int64)

    def deciding(self, names: Sequence[str], *, threshold: float) -> Deciding:
        """Tell every class's score; the highest decides, of equal ones the first, as in `read`."""
        fields = tuple(f"score_{name}" for name in names)

        def decided(scores: FloatArray) -> Mapping[str, float | str]:
            told = dict(zip(fields, map(float, scores), strict=True))
            return {**told, "decision": names[int(scores.argmax())]}

        return Deciding(fields=(*fields, "decision"), of=decided)

    def sureness(self, targets: NDArray[np.int64], scores: FloatArray) -> FloatArray:
        """Return the score of the true class."""
        found: FloatArray = scores.reshape(-1, len(self.names))[np.arange(len(targets)), targets]
        return found


@lru_cache(maxsize=16)
def _rates(names: tuple[str, ...]) -> _Rates:
    return _full(names) if len(names) <= FULL_TABLE else _hits(names)


def _full(names: tuple[str, ...]) -> _Rates:
    count = len(names)
    every = [(y, decision) for y in range(count) for decision in range(count)]

    def against(fraction: Fraction, k: int) -> Fraction:
        # An entry of class and decision is one of "is it k, was k decided".
        return Fraction(
            hits=tuple(e for e in every if (int(e[0] == k), int(e[1] == k)) in fraction.hits),
            misses=tuple(e for e in every if (int(e[0] == k), int(e[1] == k)) in fraction.misses),
        )

    rates = {
        of_class(rate, name): against(FRACTIONS[rate], k)
        for rate in PER_CLASS
        if rate in FRACTIONS
        for k, name in enumerate(names)
    }
    jaccards = {of_class("f1_score", name): against(JACCARD, k) for k, name in enumerate(names)}
    right = tuple(e for e in every if e[0] == e[1])
    wrong = tuple(e for e in every if e[0] != e[1])

    def over(rate: str, *, independent: bool) -> Average:
        return Average(tuple(of_class(rate, name) for name in names), independent)

    averages = {
        # Those who are in different classes are different people, and so are those who were given
        # different ones; a class's F1 score is about both.
        "balanced_accuracy_score": over("recall_score", independent=True),
        "precision_macro": over("precision_score", independent=True),
        "f1_macro": over("f1_score", independent=False),
    }
    return _Rates(rates | _accuracy(right, wrong), jaccards, averages)


def _hits(names: tuple[str, ...]) -> _Rates:
    numbers = range(len(names))
    rates = {}
    for k, name in enumerate(names):
        hit, miss = ((k, 1),), ((k, 0),)
        rates[of_class("recall_score", name)] = Fraction(hits=hit, misses=miss)
        rates[of_class("true_positive_rate", name)] = Fraction(hits=hit, misses=miss)
        rates[of_class("false_negative_rate", name)] = Fraction(hits=miss, misses=hit)
    recalls = tuple(of_class("recall_score", name) for name in names)
    right, wrong = _pairs(numbers, (1,)), _pairs(numbers, (0,))
    averages = {"balanced_accuracy_score": Average(recalls, independent=True)}
    return _Rates(rates | _accuracy(right, wrong), {}, averages)


def _accuracy(right: _Entries, wrong: _Entries) -> dict[str, Fraction]:
    return {
        "accuracy_score": Fraction(hits=right, misses=wrong),
        "zero_one_loss": Fraction(hits=wrong, misses=right),
    }


def _pairs(targets: Iterable[int], decisions: tuple[int, ...]) -> _Entries:
    return tuple((y, decision) for y in targets for decision in decisions)
