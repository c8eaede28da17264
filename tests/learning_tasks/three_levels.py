"""A third task, made of what any task is made of; no product file knows of it.

The heart data's label is a level of disease from 0 to 4: none, mild (1) or severe (2 to 4).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fedethics.fairness.measured import BinValues, Measured, Targets, refuse_some
from fedethics.fairness.metrics import Fraction
from fedethics.learning_tasks import LearningTask, Rate, register

LEVELS = {"0": 0, "1": 1, "2": 2, "3": 2, "4": 2}


def _score(edges):
    low, high = edges[:-1], edges[1:]
    return BinValues(low[None], (low + high)[None] / 2, high[None])


class ThreeLevelsMeasured(Measured):
    """Level and answer, three by three; one histogram of how sure the model is of the level."""

    decisions: ClassVar[tuple[int, int]] = (3, 3)
    rows: ClassVar[int] = 1
    rates: ClassVar = {
        "accuracy_score": Fraction(
            hits=((0, 0), (1, 1), (2, 2)),
            misses=((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)),
        ),
        "severe_missed_for_none": Fraction(hits=((2, 0),), misses=((2, 1), (2, 2))),
    }
    means: ClassVar = {"mean_sureness": _score}

    def read(self, targets, scores, *, threshold):
        target, score = np.asarray(targets).astype(np.int64), np.asarray(scores)
        assert score.shape == (len(target), 3)
        refuse_some((target < 0) | (target > 2), "labels are no level")
        return Targets(target, self.sureness(target, score), score.argmax(axis=1))

    def sureness(self, targets, scores):
        return scores[np.arange(len(targets)), targets]


class ThreeLevels(LearningTask):
    """A text in, one of three levels out."""

    name: ClassVar[str] = "three-levels"
    architecture: ClassVar = "sequence-classification"
    rates: ClassVar = {
        "severe_missed_for_none": Rate(meaning="share of the severe taken for none"),
        "mean_sureness": Rate(meaning="mean probability of the true level", binned=True),
    }

    def problems(self, words):
        return ["prompt: task three-levels has none"] if words.prompt else []

    def classes(self, labels):
        return "none", "mild", "severe"

    def target(self, cell, labels):
        return LEVELS.get(cell)

    def cells(self, labels):
        return tuple(LEVELS)

    def measured(self, labels):
        return ThreeLevelsMeasured()

    def usage(self, words, labels):
        return "print(model(**tokenizer(example, return_tensors='pt')).logits)\n"

    def reader(self, network: Any, tokenizer: Any, words, labels):
        from fedethics.learning_tasks.classification.reader import ClassReader

        class Reader(ClassReader):
            def scores(self, outputs):
                return outputs.double().softmax(dim=1)

        return Reader(network, tokenizer, max_tokens=words.max_tokens)


THREE_LEVELS = ThreeLevels()
register(THREE_LEVELS)
