"""The scorers by name and version. An unknown one is refused with those that are installed."""

from __future__ import annotations

from typing import Final

from fedethics.errors import FairnessError
from fedethics.scorers.overlap import ExactMatch, RougeL
from fedethics.scorers.scorer import Scorer
from fedethics.scorers.wording import AnswerLength, Refusal

_SCORERS: Final = {
    scorer.pinned: scorer for scorer in (ExactMatch(), RougeL(), Refusal(), AnswerLength())
}


def scorer_names() -> tuple[str, ...]:
    """Return name and version of each scorer that is installed here."""
    return tuple(_SCORERS)


def find_scorer(pinned: str) -> Scorer:
    """Return the scorer that a charter pins, for example "rouge_l/1".

    Raises:
        FairnessError: it is not installed here, in this version.
    """
    if pinned not in _SCORERS:
        raise FairnessError(
            f"scorer {pinned!r} is not installed here; installed: {', '.join(_SCORERS)}"
        )
    return _SCORERS[pinned]
