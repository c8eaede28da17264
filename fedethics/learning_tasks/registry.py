"""The tasks by name. An unknown name is refused with those that are known."""

from __future__ import annotations

from fedethics.errors import ModelError
from fedethics.learning_tasks.choice import Choice, TwoAnswers
from fedethics.learning_tasks.classification import Classification
from fedethics.learning_tasks.free_text import Sft, Text
from fedethics.learning_tasks.preference import PreferenceTask
from fedethics.learning_tasks.task import LearningTask
from fedethics.registry import Registry

_TASKS: Registry[LearningTask] = Registry(
    "task",
    ModelError,
    Classification(),
    TwoAnswers(),
    Choice(),
    Sft(),
    Text(),
    PreferenceTask(),
)
register, task_names, find_task = _TASKS.register, _TASKS.names, _TASKS.find


def know_rates() -> None:
    """Make the metrics that tasks bring with them known to the metric registry."""
    from fedethics.fairness.metrics import add_rate  # here: charters are read without scipy

    for task in _TASKS.all():
        for name, rate in task.rates.items():
            add_rate(name, rate.meaning, binned=rate.binned, high=rate.high)
