"""How records of a task are drawn: which outcomes a record can have, and how often under a model.

A model is an array of shares in [0, 1], by cell: of two classes, the share selected by label; of
several, the share that is right by class. Adding a kind of task is one class and one entry.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from fedethics.errors import FairnessError
from fedethics.fairness.classes import Classes
from fedethics.fairness.explained import FloatArray
from fedethics.fairness.layout import Layout
from fedethics.fairness.measured import Measured, TwoClasses

# Of the scores' logits, within a cell and label.
SPREAD = 1.0
_NEVER = 1e-4
# Scores of the true class, of a record that is right and of one that is not.
_OF_RIGHT = (0.5, 0.65, 0.8, 0.95)
_OF_WRONG = (0.05, 0.15, 0.3, 0.45)


class Kind(ABC):
    """One kind of task."""

    @property
    @abstractmethod
    def targets(self) -> int:
        """How many labels there are."""

    @abstractmethod
    def outcomes(self, layout: Layout, target: int) -> list[FloatArray]:
        """Return the answers that a record of a label can have, as a site reads them."""

    @abstractmethod
    def shares(self, layout: Layout, model: FloatArray) -> FloatArray:
        """Return how often each has which, shape (cells, targets, outcomes)."""

    @abstractmethod
    def fair(self, accuracy: float) -> FloatArray:
        """Return a cell's shares under a model that is right as often for every label."""

    @abstractmethod
    def alike(self, strength: float) -> FloatArray:
        """Return a cell's shares under a model that is lenient, from -1 never to 1 always."""

    @abstractmethod
    def directions(self, named: str) -> Iterator[FloatArray]:
        """Yield how one group's shares may move from the others', the plainest first.

        Args:
            named: the metric.
        """


class OfTwoClasses(Kind):
    """A record lies in one score bin; binormal scores, cut at the charter's threshold."""

    targets = 2

    def outcomes(self, layout: Layout, target: int) -> list[FloatArray]:
        """Return the middle of each bin."""
        edges = np.array(layout.fine_edges)
        return list((edges[:-1] + edges[1:]) / 2.0)

    def shares(self, layout: Layout, model: FloatArray) -> FloatArray:
        """Return the share of each score bin."""
        return score_shares(layout, model)

    def fair(self, accuracy: float) -> FloatArray:
        """Return the share selected of negatives and of positives."""
        return np.array([1.0 - accuracy, accuracy])

    def alike(self, strength: float) -> FloatArray:
        """Return as many selected of both labels."""
        return np.full(2, (1.0 + strength) / 2.0)

    def directions(self, named: str) -> Iterator[FloatArray]:
        """Yield misses of positives first."""
        for pair in ((0, -1), (1, 0), (1, -1), (-1, -1), (-1, 0), (0, 1)):
            yield np.array(pair)


class OfClasses(Kind):
    """A record is right, or wrong for each other class as often."""

    def __init__(self, measured: Classes) -> None:
        """Take the classes' names."""
        self._names = measured.names

    @property
    def targets(self) -> int:
        """One for each class."""
        return len(self._names)

    def outcomes(self, layout: Layout, target: int) -> list[FloatArray]:
        """Return, for each class decided, some scores of the true one."""
        found = []
        for decided in range(self.targets):
            for score in _OF_RIGHT if decided == target else _OF_WRONG:
                row = np.zeros(self.targets)
                row[decided] = 1.0
                row[target] = score
                found.append(row)
        return found

    def shares(self, layout: Layout, model: FloatArray) -> FloatArray:
        """Return the share of each class decided; its scores are as likely as each other."""
        right = np.eye(self.targets)
        wrong = (1.0 - right) / (self.targets - 1)
        decided = model[..., None] * right + (1.0 - model[..., None]) * wrong
        found: FloatArray = np.repeat(decided, len(_OF_RIGHT), axis=-1) / len(_OF_RIGHT)
        return found

    def fair(self, accuracy: float) -> FloatArray:
        """Return the share right of each class."""
        return np.full(self.targets, accuracy)

    def alike(self, strength: float) -> FloatArray:
        """Return the same as `fair`: there is no leniency between several classes."""
        return np.full(self.targets, (1.0 + strength) / 2.0)

    def directions(self, named: str) -> Iterator[FloatArray]:
        """Yield the class that is named, then all classes, then each by itself."""
        single = np.eye(self.targets)
        asked = [k for k, name in enumerate(self._names) if named.endswith(f"[{name}]")]
        moves = [*(single[k] for k in asked), np.ones(self.targets), *single]
        for move in moves:
            yield -move
            yield move


KINDS: Mapping[type[Measured], Callable[[Measured], Kind]] = {
    TwoClasses: lambda _: OfTwoClasses(),
    Classes: lambda measured: OfClasses(_classes(measured)),
}


def kind_of(layout: Layout) -> Kind:
    """Return how records of a layout are drawn.

    Raises:
        FairnessError: the planner cannot draw what this task counts.
    """
    made = KINDS.get(type(layout.measured))
    if made is None:
        raise FairnessError(NOT_DRAWN)
    return made(layout.measured)


NOT_DRAWN = "rests on tables of a task that the planner does not draw"


def _classes(measured: Measured) -> Classes:
    if not isinstance(measured, Classes):
        raise FairnessError(NOT_DRAWN)
    return measured


def score_shares(layout: Layout, selected: FloatArray) -> FloatArray:
    """Return the share of each score bin, by cell and label, shape (cells, 2, bins)."""
    from scipy.special import ndtr, ndtri  # here: it takes half a second to import

    inner = np.array(layout.fine_edges[1:-1])
    threshold = np.log(layout.threshold / (1.0 - layout.threshold))
    edges = (np.log(inner / (1.0 - inner)) - threshold) / SPREAD
    centre = ndtri(np.clip(selected, _NEVER, 1.0 - _NEVER))
    below = ndtr(edges - centre[..., None])
    ends = np.ones((*selected.shape, 1))
    return np.diff(np.concatenate([0.0 * ends, below, ends], axis=-1), axis=-1)
