"""Weights of groups in the training loss.

Guarantee: weights change no privacy guarantee. They are computed from opened, noised sums, so they
are the output of mechanisms charged already; a record's weight depends on its own group and label
and on those public numbers, never on another record; and its weighted gradient is clipped to the
same norm. So a step's sensitivity is what it was (argument in docs/fairness.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedethics.errors import FairnessError


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
