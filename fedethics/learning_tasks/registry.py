"""The tasks by name. An unknown name is refused with those that are known."""

from __future__ import annotations

from fedethics.errors import ModelError
from fedethics.learning_tasks.choice import Choice, TwoAnswers
from fedethics.learning_tasks.classification import Classification
from fedethics.learning_tasks.free_text import Sft, Text
from fedethics.learning_tasks.preference import PreferenceTask
from fedethics.learning_tasks.task import LearningTask

_TASKS: dict[str, LearningTask] = {}


def register(task: LearningTask) -> None:
    """Make a task known by its name.

    Raises:
        ModelError: another task has that name.
    """
    known = _TASKS.setdefault(task.name, task)
    if known is not task:
        raise ModelError(f"task {task.name!r} is registered twice")


def task_names() -> tuple[str, ...]:
    """Return the names of all tasks, in the order in which they were registered."""
    return tuple(_TASKS)


def find_task(name: str) -> LearningTask:
    """Return the task called `name`.

    Raises:
        ModelError: there is none.
    """
    if name not in _TASKS:
        raise ModelError(f"task {name!r} is unknown; known: {', '.join(_TASKS)}")
    return _TASKS[name]


def know_rates() -> None:
    """Make the metrics that tasks bring with them known to the metric registry."""
    from fedethics.fairness.metrics import add_rate  # here: charters are read without scipy

    for task in _TASKS.values():
        for name, rate in task.rates.items():
            add_rate(name, rate.meaning, binned=rate.binned, high=rate.high)


register(Classification())
register(TwoAnswers())
register(Choice())
register(Sft())
register(Text())
register(PreferenceTask())
