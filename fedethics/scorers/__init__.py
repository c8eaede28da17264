"""Scorers of generated answers: one small class each, found by the name that a charter pins.

A scorer is code that every site has installed; nothing that arrives over the network runs. A
charter pins it with its version ("rouge_l/1"): a scorer that scores otherwise has another version,
and a site that does not have it refuses the charter. Adding one means a class here and its line in
`registry`.
"""

from fedethics.scorers.registry import find_scorer, scorer_names
from fedethics.scorers.scorer import Scorer, Scoring, score_of

__all__ = ["Scorer", "Scoring", "find_scorer", "score_of", "scorer_names"]
