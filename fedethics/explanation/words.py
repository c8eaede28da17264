"""Which words of a record moved its answer: each left out, the model asked again (occlusion).

Zeiler and Fergus 2014, section 4.2; for text Li et al. 2016 (arXiv 1612.08220). A word's effect is
the score with it less the score without it. The model may never have seen a text with a word
missing; two words that say the same can each look unimportant; and an effect is no cause in the
world. Whether the order of the words is worth anything is measured as ERASER does (DeYoung et al.
2020, section 4.2), with the first 1, 5, 10, 20 and 50 % of the words.

A word is a run of letters and digits, with apostrophes and hyphens inside. In a language that
writes no blanks it is a run between marks. Of a record with many words, neighbours are left out
together.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedethics.data.content import (
    Completion,
    Content,
    Conversation,
    Preference,
    Question,
    parts,
    replaced,
)
from fedethics.errors import DataError
from fedethics.explanation.single import Faithfulness, faithfulness
from fedethics.fairness.measured import Measured

# More units than this are not left out one by one.
MOST_UNITS = 256
_SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)
_WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")

Told: TypeAlias = Callable[[Sequence[Content]], NDArray[np.float64]]
Span: TypeAlias = tuple[int, int]


# Sensitive: every field tells of one record. Made at the site, shown there, never sent.
@dataclass(frozen=True, kw_only=True, slots=True)
class WordEffect:
    """What leaving a word, or a run of neighbouring words, out does.

    Attributes:
        piece: number of the piece of the record that it stands in.
        start, end: its place in the piece, in characters.
        words: as it is written.
        change: score with it less score without it: above 0, it raises the score.
    """

    piece: int
    start: int
    end: int
    words: str
    change: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ExplainedWords:
    """One record explained by its words.

    Attributes:
        score: of the answer that is explained.
        pieces: what the record says, piece by piece; words of some are never left out.
        effects: of each unit, in the order of the text.
        faithfulness: whether the effects' order is worth anything, for this record.
    """

    score: float
    pieces: tuple[str, ...]
    effects: tuple[WordEffect, ...]
    faithfulness: Faithfulness


def explain_words(score: Told, content: Content, *, positive: bool) -> ExplainedWords:
    """Explain one record.

    Args:
        score: what the model makes of contents: how sure it is of the answer that is explained,
            or of the positive one, in [0, 1], shape (n,).
        content: what the record says.
        positive: whether a higher score speaks for the answer.

    Raises:
        DataError: it has fewer than two words that could be left out.
    """
    units = units_of(content)
    if len(units) < 2:
        raise DataError(
            "the text of this record that the model is asked with has fewer than two words; "
            "leaving one out leaves nothing"
        )
    left_out = _LeftOut(score, content, units)
    whole, *without_one = left_out(frozenset(), *(frozenset({name}) for name in units))
    pieces = parts(content)
    effects = []
    for (piece, spans), changed in zip(units.values(), without_one, strict=True):
        start, end = spans[0][0], spans[-1][1]
        words = pieces[piece][start:end]
        change = whole - changed
        effects.append(WordEffect(piece=piece, start=start, end=end, words=words, change=change))
    changes = {name: effect.change for name, effect in zip(units, effects, strict=True)}
    count = len(units)
    sizes = sorted({min(count - 1, math.ceil(share * count)) for share in _SHARES})
    return ExplainedWords(
        score=whole,
        pieces=pieces,
        effects=tuple(effects),
        faithfulness=faithfulness(left_out, changes, positive=positive, sizes=sizes),
    )


def units_of(content: Content) -> dict[str, tuple[int, tuple[Span, ...]]]:
    """Return what is left out at once: piece and places of its words, by a name of its own.

    One word each; of more than `MOST_UNITS` words, as many neighbours as it takes.
    """
    pieces = parts(content)
    found = [
        (piece, match.span())
        for piece in asked_pieces(content)
        for match in _WORD.finditer(pieces[piece])
    ]
    run = math.ceil(len(found) / MOST_UNITS) or 1
    units: dict[str, tuple[int, tuple[Span, ...]]] = {}
    for piece, own in groupby(found, key=lambda one: one[0]):
        spans = [span for _, span in own]
        for first in range(0, len(spans), run):
            units[f"{len(units):06d}"] = (piece, tuple(spans[first : first + run]))
    return units


def asked_pieces(content: Content) -> tuple[int, ...]:
    """Return which pieces the model is asked with: not those that are its answer."""
    match content:
        case str():
            return (0,)
        case Completion() | Preference() | Question():
            return (0,)
        case Conversation(turns):
            last = max((at for at, turn in enumerate(turns) if turn.role == "assistant"), default=0)
            return tuple(range(last))


def without_spans(text: str, spans: Sequence[Span]) -> str:
    """Return the text without these places, each with one blank next to it."""
    kept, at = "", 0
    for start, end in sorted(spans):
        kept += text[at:start]
        at = end
        if text[end : end + 1] == " ":
            at = end + 1
        elif kept.endswith(" "):
            kept = kept[:-1]
    return kept + text[at:]


def without_words(content: Content, finder: Callable[[str], Sequence[Span]]) -> Content:
    """Return the content without the words that `finder` finds in what the model is asked with."""
    pieces = list(parts(content))
    for piece in asked_pieces(content):
        pieces[piece] = without_spans(pieces[piece], finder(pieces[piece]))
    return replaced(content, pieces)


def explained_targets(
    measured: Measured,
    scores: NDArray[np.float64],
    labels: NDArray[np.integer[Any]],
    *,
    threshold: float,
    labelled: bool,
) -> NDArray[np.int64]:
    """Return the target of each record whose score is explained, shape (n,).

    Of a yes or no, it is yes, as everywhere; of several classes, what was decided; else the
    record's own answer.
    """
    if measured.thresholded:
        return np.ones(len(labels), dtype=np.int64)
    return measured.chosen(scores, threshold=threshold) if labelled else labels.astype(np.int64)


def without_units(
    content: Content,
    units: Mapping[str, tuple[int, tuple[Span, ...]]],
    names: frozenset[str],
) -> Content:
    """Return the content with these units left out."""
    pieces = list(parts(content))
    spans: dict[int, list[Span]] = {}
    for name in names:
        piece, own = units[name]
        spans.setdefault(piece, []).extend(own)
    for piece, places in spans.items():
        pieces[piece] = without_spans(pieces[piece], places)
    return replaced(content, pieces)


class _LeftOut:
    """Scores of one record with sets of units left out; each set is scored once."""

    def __init__(
        self,
        score: Told,
        content: Content,
        units: Mapping[str, tuple[int, tuple[Span, ...]]],
    ) -> None:
        self._score, self._content, self._units = score, content, units
        self._known: dict[frozenset[str], float] = {}

    def __call__(self, *subsets: frozenset[str]) -> list[float]:
        new = sorted(set(subsets) - set(self._known), key=sorted)
        if new:
            contents = [without_units(self._content, self._units, names) for names in new]
            self._known.update(zip(new, map(float, self._score(contents)), strict=True))
        return [self._known[names] for names in subsets]
