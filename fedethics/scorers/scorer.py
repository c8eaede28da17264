"""What a scorer answers of one generated answer: a number from 0 to 1, of that record alone."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Protocol


class Scorer(ABC):
    """Scores one generated answer. It holds no state, so a score follows from its record alone.

    Attributes:
        name: as a charter writes it, before the slash.
        version: rises whenever any score changes.
        meaning: plain words, to follow "the mean".
        worst: what counts for an answer that cannot be scored: 0 or 1.
        binary: whether every score is 0 or 1.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    meaning: ClassVar[str]
    worst: ClassVar[float] = 0.0
    binary: ClassVar[bool] = False

    @property
    def pinned(self) -> str:
        """Name and version, as a charter pins them."""
        return f"{self.name}/{self.version}"

    @abstractmethod
    def score(self, answer: str, *, reference: str) -> float:
        """Return the score, from 0 to 1.

        Args:
            answer: what the model wrote.
            reference: the record's own answer.
        """


class Scoring(Protocol):
    """What scores one answer: a `Scorer`, or a classifier that a site has in a folder."""

    @property
    def worst(self) -> float:
        """What counts for an answer that cannot be scored."""

    def score(self, answer: str, *, reference: str) -> float:
        """Return the score, from 0 to 1."""


def score_of(scorer: Scoring, answer: str, *, reference: str) -> float:
    """Return the score; the worst one where the scorer fails, or gives what is no score.

    Sensitive: an error would reveal one record without noise, so there is none.
    """
    try:
        found = float(scorer.score(answer, reference=reference))
    except Exception:  # see the docstring: whatever it is
        return scorer.worst
    return found if math.isfinite(found) and 0.0 <= found <= 1.0 else scorer.worst
