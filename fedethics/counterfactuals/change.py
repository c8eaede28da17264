"""What is measured of a record when listed words in it are swapped: a number from 0 to 1."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from fedethics.learning_tasks.task import Bounded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fedethics.fairness.measured import FloatArray, Measured


class Scored(NamedTuple):
    """Records as they are and with their words swapped, as the task's reader scores them.

    Attributes:
        measured: what the task measures of a record.
        targets: number of each record's target, shape (n,).
        before, after: scores of each record, shape (n,) or (n, columns).
        threshold: of the charter's decision.
        largest_loss: nats at which a loss is cut.
    """

    measured: Measured
    targets: NDArray[np.integer[Any]]
    before: FloatArray
    after: FloatArray
    threshold: float
    largest_loss: float


class WordChange(ABC):
    """One number of how a record's outcome changes. It holds no state.

    Attributes:
        name: as a charter asks for it.
        meaning: plain words, to follow "the mean", with {words} for the list's name.
        decides: whether it needs a decision, so that only tasks with a label have it.
    """

    name: ClassVar[str]
    meaning: ClassVar[str]
    decides: ClassVar[bool] = False

    @abstractmethod
    def bounded(self, words: str, *, largest_loss: float) -> Bounded:
        """Return it as a measure.

        Args:
            words: name of the list of words.
            largest_loss: nats at which a loss is cut.
        """

    @abstractmethod
    def of(self, scored: Scored) -> FloatArray:
        """Return the number of each record as a share of its range, in [0, 1], shape (n,).

        NaN for a record of which there is none: it is counted apart.
        """
