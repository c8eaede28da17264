"""What tasks have in common whose target is yes or no: how it is read, and what is measured."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING

from fedethics.learning_tasks.task import Labels, LearningTask

if TYPE_CHECKING:
    from fedethics.fairness.measured import Measured


class TwoLabels(LearningTask, ABC):
    """A task whose target is 1 for the charter's positive label and 0 for its negative one."""

    def classes(self, labels: Labels) -> tuple[str, ...]:
        """Return the negative name, then the positive one."""
        return labels.negative_name, labels.positive_name

    def target(self, cell: str, labels: Labels) -> int | None:
        """Return 1 for a positive cell and 0 for a negative one."""
        if cell in labels.positive:
            return 1
        return 0 if cell in labels.negative else None

    def cells(self, labels: Labels) -> tuple[str, ...]:
        """Return the cells that mean no, then those that mean yes."""
        return (*labels.negative, *labels.positive)

    def measured(self, _labels: Labels) -> Measured:
        """Return the table of label and decision, and scores by label."""
        from fedethics.fairness.measured import TWO_CLASSES  # here: charters are read without scipy

        return TWO_CLASSES
