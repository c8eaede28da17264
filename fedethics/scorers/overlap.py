"""How far a generated answer is the record's own: the same, or with words in common order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from fedethics.scorers.scorer import Scorer

_NO_WORD = re.compile(r"[^a-z0-9]+")


class ExactMatch(Scorer):
    """1 where both texts are the same but for white space, as written, letter for letter."""

    name: ClassVar[str] = "exact_match"
    version: ClassVar[int] = 1
    meaning: ClassVar[str] = "share of generated answers that are the record's own"
    binary: ClassVar[bool] = True

    def score(self, answer: str, *, reference: str) -> float:
        """Compare both texts, each run of white space as one blank."""
        return float(answer.split() == reference.split())


class RougeL(Scorer):
    """F1 of the longest common subsequence of words (Lin 2004, ROUGE-L of one sentence).

    Words are runs of a-z and 0-9 in small letters, without stemming, as in the package rouge-score;
    other scripts have no words in it. Two texts without words score 0.
    """

    name: ClassVar[str] = "rouge_l"
    version: ClassVar[int] = 1
    meaning: ClassVar[str] = "ROUGE-L (F1) of generated answers and the record's own"

    def score(self, answer: str, *, reference: str) -> float:
        """Return 2 L / (m + n), with L the length of the longest common subsequence."""
        first, second = words(answer), words(reference)
        if not first or not second:
            return 0.0
        return 2.0 * _common(first, second) / (len(first) + len(second))


def words(text: str) -> list[str]:
    """Return the words of a text: runs of a-z and 0-9, in small letters."""
    return _NO_WORD.sub(" ", text.lower()).split()


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the length of the longest common subsequence."""
    row = [0] * (len(second) + 1)
    for word in first:
        before = row
        row = [0]
        for place, other in enumerate(second, start=1):
            longer = before[place - 1] + 1 if word == other else max(before[place], row[-1])
            row.append(longer)
    return row[-1]
