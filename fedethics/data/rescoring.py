"""Records told otherwise and scored again, by whatever scores texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedethics.charter.data_terms import DataTerms
from fedethics.data.records import Records
from fedethics.data.telling import swapped, without

Scorer: TypeAlias = Callable[[Sequence[str]], NDArray[np.float64]]


def occluded_scores(
    score: Scorer, part: Records, data: DataTerms, scores: NDArray[np.float64], column: str
) -> NDArray[np.float64]:
    """Return each record's score with the phrase of `column` left out, shape (n,)."""
    return _changed(score, part.texts, scores, [without(row, data, column) for row in part.values])


def swapped_scores(
    score: Scorer, part: Records, data: DataTerms, scores: NDArray[np.float64], feature: str
) -> NDArray[np.float64]:
    """Return each record's scores with the word of each other group, shape (n, others)."""
    place = [one.name for one in data.sensitive].index(feature)
    told = [
        tuple(swapped(row, data, feature, group=int(group)).values())
        for row, group in zip(part.values, part.groups[:, place], strict=True)
    ]
    others = zip(*told, strict=True)
    changed = [_changed(score, part.texts, scores, texts) for texts in others]
    return np.stack(changed, axis=1)


def _changed(
    score: Scorer,
    texts: Sequence[str],
    scores: NDArray[np.float64],
    changed: Sequence[str],
) -> NDArray[np.float64]:
    """Return the scores of the changed texts; a text that did not change keeps its score."""
    rows = [row for row, (old, new) in enumerate(zip(texts, changed, strict=True)) if old != new]
    result = scores.copy()
    if rows:
        result[rows] = score([changed[row] for row in rows])
    return result
