"""What models learn: one object for each task, found by the name that a charter writes.

A task says what of a record is encoded, what its loss is, and what is measured of a held-out
record. Adding one means a folder here and its name in `registry`; nothing else asks which it is.
"""

from fedethics.learning_tasks.registry import find_task, know_rates, register, task_names
from fedethics.learning_tasks.task import LearningTask, Rate

__all__ = ["LearningTask", "Rate", "find_task", "know_rates", "register", "task_names"]
