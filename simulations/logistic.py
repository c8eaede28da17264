"""Logistic regression on raw columns: what a language model must be held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fedethics.data.records import Targets

Rows = Sequence[Mapping[str, float | str | None]]


def fit_logistic(
    rows: Rows, labels: Targets, *, words_of: frozenset[str]
) -> Callable[[Rows], NDArray[np.float64]]:
    """Return a function from rows to scores; columns in `words_of` count by their words."""
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MaxAbsScaler

    if len(np.unique(labels)) < 2:
        only = float(labels[0])
        return lambda asked: np.full(len(asked), only)
    model = make_pipeline(DictVectorizer(), MaxAbsScaler(), LogisticRegression(max_iter=1000))
    model.fit([_features(row, words_of) for row in rows], labels)
    return lambda asked: np.asarray(
        model.predict_proba([_features(row, words_of) for row in asked])[:, 1], dtype=np.float64
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
