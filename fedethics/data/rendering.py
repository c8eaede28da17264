"""A row as the text that the model reads, and the same row with one thing changed.

Changed records, scored again by any function that scores texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedethics.charter.data_terms import Column, DataTerms
from fedethics.charter.ethics_terms import stand_ins
from fedethics.data.content import Content, Question
from fedethics.data.records import Records, Value, shown, wording

Row = Mapping[str, Value]


def text_columns(terms: DataTerms) -> tuple[Column, ...]:
    """Return the columns that the text names, in its order."""
    return tuple(column for column in terms.columns if column.phrase)


def row_text(row: Row, columns: Sequence[Column]) -> str:
    """Return the text of a row: the phrases of `columns` in their order."""
    return ", ".join(wording(row[column.name], column) for column in columns)


def row_content(row: Row, terms: DataTerms, columns: Sequence[Column] | None = None) -> Content:
    """Return what a row says to the model: its text, and its own options where they are answers.

    Args:
        row: parsed values by column.
        terms: the schema.
        columns: those whose phrases are told; absent for all that have one.
    """
    text = row_text(row, text_columns(terms) if columns is None else columns)
    options = terms.labels.options or ()
    if terms.labels.answer_with is None:
        return text
    by_name = {column.name: column for column in terms.columns}
    return Question(text, tuple(shown(row.get(name), by_name[name]) for name in options))


def without(row: Row, terms: DataTerms, *names: str) -> Content:
    """Return the text of a row with the phrases of the columns `names` left out."""
    kept = [column for column in text_columns(terms) if column.name not in names]
    return row_content(row, terms, kept)


def swapped(row: Row, terms: DataTerms, feature: str, *, group: int) -> dict[str, Content]:
    """Return the row's text for each other group: its word in place of the record's own.

    One word is changed and nothing that is correlated with it in life; this is no answer to what a
    person of the other group would have been like.

    Args:
        row: parsed values by column.
        terms: the schema; `feature` is one whose word is in the text.
        feature: name of the sensitive feature.
        group: index of the record's own group.
    """
    declared = next(one for one in terms.sensitive if one.name == feature)
    column = next(one for one in terms.columns if one.name == declared.column)
    words = stand_ins(declared, column)
    return {
        other: row_content({**row, column.name: words[other]}, terms)
        for index, other in enumerate(declared.groups)
        if index != group
    }


Scorer: TypeAlias = Callable[[Sequence[Content]], NDArray[np.float64]]


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
    if not changed:
        return np.zeros((0, len(data.sensitive[place].groups) - 1))
    return np.stack(changed, axis=1)


def _changed(
    score: Scorer,
    texts: Sequence[Content],
    scores: NDArray[np.float64],
    changed: Sequence[Content],
) -> NDArray[np.float64]:
    """Return the scores of the changed texts; a text that did not change keeps its score.

    All are scored: how many did change is not to be told by the time that it takes.
    """
    rows = [row for row, (old, new) in enumerate(zip(texts, changed, strict=True)) if old != new]
    result = scores.copy()
    if len(changed):
        result[rows] = score(changed)[rows]
    return result
