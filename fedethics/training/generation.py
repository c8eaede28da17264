"""Answers that the model writes for held-out prompts: greedy, and each record computed alone.

Records run side by side on copies of the model, one in a thread, so that no batch mate and no
padding is there that could matter (docs/adr/0016).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from fedethics.data.content import Content
from fedethics.training.activations import over
from fedethics.training.learner import Learner
from fedethics.training.reader import Prompt


def answers(
    learner: Learner, vector: NDArray[np.float32], texts: Sequence[Content], *, most: int
) -> list[tuple[str, str]]:
    """Return for each record what the model writes, and the record's own answer.

    Guarantee: each answer follows from its record, the adapter, the charter and this machine.

    Args:
        learner: of a task whose records have a prompt.
        vector: the adapter.
        texts: one a record.
        most: tokens of an answer.

    Raises:
        ModelError: the task's records have no prompt.
        DataError: a record's prompt is unknown.
    """
    prompts = learner.prompts(texts)
    copies = learner.copies[: max(1, torch.get_num_threads())]

    def answered(copy: Learner, prompt: Prompt) -> str:
        return copy.answer(prompt, most=most)

    with learner.lock:
        learner.load(vector)
        return [(said, prompt.reference) for prompt, said in over(copies, prompts, answered)]
