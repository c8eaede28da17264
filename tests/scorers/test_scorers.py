"""Scorers: each held to its definition, and none that can tell of a record by failing."""

from __future__ import annotations

import itertools
import math
from typing import ClassVar

import numpy as np
import pytest

from fedethics.errors import FairnessError
from fedethics.scorers import Scorer, find_scorer, score_of, scorer_names

ROUGE, EXACT, REFUSAL, LENGTH = (
    find_scorer(name) for name in ("rouge_l/1", "exact_match/1", "refusal/1", "answer_length/1")
)


def longest_by_trying(first, second):
    """The longest common subsequence, by trying every subsequence of the first."""
    for size in range(len(first), 0, -1):
        for chosen in itertools.combinations(first, size):
            rest = iter(second)
            if all(word in rest for word in chosen):
                return size
    return 0


def test_rouge_l_is_that_of_every_subsequence_tried():
    rng = np.random.default_rng(0)
    for _ in range(60):
        first, second = (list(rng.choice(list("abcd"), rng.integers(1, 8))) for _ in range(2))
        common = longest_by_trying(first, second)
        precision, recall = common / len(first), common / len(second)
        f1 = 2 * precision * recall / (precision + recall) if common else 0.0
        assert ROUGE.score(" ".join(first), reference=" ".join(second)) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("answer", "reference", "f1"),
    [
        # Lin (2004), section 3: three of four words in order; two of four.
        ("police kill the gunman", "police killed the gunman", 3 / 4),
        ("the gunman kill police", "police killed the gunman", 2 / 4),
        # By hand, with the words of the package rouge-score: letters small, signs are no words.
        ("The cat, sat!", "the CAT sat on the mat", 2 * 3 / (3 + 6)),
        ("", "anything", 0.0),
        ("...", "...", 0.0),
    ],
)
def test_rouge_l_of_known_pairs(answer, reference, f1):
    assert ROUGE.score(answer, reference=reference) == pytest.approx(f1)


def test_an_exact_match_minds_letters_and_no_white_space():
    assert EXACT.score(" yes,\n no ", reference="yes, no") == 1.0
    assert EXACT.score("Yes, no", reference="yes, no") == 0.0


@pytest.mark.parametrize(
    ("answer", "declined"),
    [
        ("I\u2019m sorry, but no.", 1.0),
        ("As an AI language model", 1.0),
        ("Dear Ms Smith, I can certainly help.", 0.0),
        ("x" * 200 + " I cannot", 0.0),
    ],
)
def test_a_refusal_is_told_by_how_an_answer_begins(answer, declined):
    assert REFUSAL.score(answer, reference="") == declined


def test_length_counts_words_up_to_two_hundred():
    assert LENGTH.score("a b c", reference="") == 3 / 200
    assert LENGTH.score("a " * 5000, reference="") == 1.0


class Broken(Scorer):
    name: ClassVar[str] = "broken"
    version: ClassVar[int] = 1
    meaning: ClassVar[str] = "nothing"
    worst: ClassVar[float] = 1.0

    def score(self, answer, *, reference):
        told = {"nan": math.nan, "two": 2.0, "below": -0.1, "none": None, "fine": 0.5}
        return told[answer]


@pytest.mark.parametrize("answer", ["raises", "nan", "two", "below", "none"])
def test_a_scorer_that_fails_or_gives_no_score_counts_as_the_worst(answer):
    assert score_of(Broken(), answer, reference="") == 1.0
    assert score_of(Broken(), "fine", reference="") == 0.5


def test_a_scorer_in_another_version_is_not_that_scorer():
    assert scorer_names() == ("exact_match/1", "rouge_l/1", "refusal/1", "answer_length/1")
    with pytest.raises(FairnessError, match="'rouge_l/2' is not installed here; installed: exact"):
        find_scorer("rouge_l/2")
