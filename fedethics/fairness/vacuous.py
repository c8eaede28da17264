"""Whether a model gives all but everyone the same answer: then every group fares alike.

A gap of zero is no merit of a model that selects nobody, nor of one that selects all: it decides
nothing. Such an objective is not called held.
"""

from __future__ import annotations

from fedethics.fairness.measure import pooled
from fedethics.fairness.metrics import Metric, find_metric
from fedethics.fairness.partition import Partition

# One in a hundred: below it, a group of a few hundred people sees two or three decisions.
_FEW = 0.01
_DISPARITIES = frozenset({"difference", "ratio", "mean_difference", "between", "pooled"})


def one_answer(everyone: Partition, metric: Metric, *, confidence: float) -> str:
    """Return what makes a held `metric` empty, as a sentence, or "".

    It is empty where `metric` compares decisions between groups and the interval of the share of
    people selected reaches below 1 in 100 or above 99 in 100.
    """
    if metric.kind != "aggregate" or metric.binned or metric.combine not in _DISPARITIES:
        return ""
    if not everyone.measured.thresholded:
        # There is no "selected": whether one answer is given to all is not asked.
        return ""
    share = pooled(everyone, find_metric("selection_rate"), confidence=confidence)
    # Written so that no value at all counts as one answer.
    if share.low >= _FEW and share.high <= 1.0 - _FEW:
        return ""
    return (
        f"The model may give all but everyone the same answer: it selects {share.value:.3f} of the "
        f"people (interval {share.low:.3f} to {share.high:.3f}), so that groups fare alike because "
        "nothing is decided. A model, or a threshold, that selects some and not others is needed."
    )
