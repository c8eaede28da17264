"""Logistic regression on raw columns: what a language model must be held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fedethics.data.records import Targets

Rows = Sequence[Mapping[str, float | str | None]]


def fit_logistic(
    rows: Rows, labels: Targets, *, words_of: frozenset[str], classes: int | None = None
) -> Callable[[Rows], NDArray[np.float64]]:
    """Return a function from rows to scores; columns in `words_of` count by their words.

    Args:
        rows: parsed values of the records to learn from.
        labels: their classes.
        words_of: columns of free text.
        classes: of how many classes each has a score, shape (n, classes); None for a yes or no,
            whose score is that of yes, shape (n,).
    """
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MaxAbsScaler

    seen = np.unique(labels)

    def shaped(columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return scores of the classes that were seen as scores of all: others have 0."""
        every = np.zeros((len(columns), classes or 2))
        every[:, seen] = columns
        return every[:, 1] if classes is None else every

    if len(seen) < 2:
        return lambda asked: shaped(np.ones((len(asked), 1)))
    model = make_pipeline(DictVectorizer(), MaxAbsScaler(), LogisticRegression(max_iter=1000))
    model.fit([_features(row, words_of) for row in rows], labels)
    return lambda asked: shaped(
        np.asarray(model.predict_proba([_features(row, words_of) for row in asked]))
    )


def _features(
    row: Mapping[str, float | str | None], words_of: frozenset[str]
) -> dict[str, float | str]:
    """Return numbers and categories by name, and each word of a free text as a feature."""
    features: dict[str, float | str] = {}
    for name, value in row.items():
        if name in words_of and isinstance(value, str):
            features |= {f"{name}: {word}": 1.0 for word in value.casefold().split()}
        else:
            # A gap is its own category, so that "never measured" is not read as zero.
            features[name] = "not recorded" if value is None else value
    return features
