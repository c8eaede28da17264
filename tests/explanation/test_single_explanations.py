"""Explanations of one record, by models whose reasons are known."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest

from fedethics.charter.document import load
from fedethics.errors import DataError
from fedethics.explanation.single import explain_record

TERMS = load(Path(__file__).parents[2] / "configs" / "heart.charter.toml").data
ROW = {
    "age": 57.0, "sex": "Female", "cp": "asymptomatic", "exang": "TRUE", "oldpeak": 0.6,
    "thalch": 163.0, "chol": None, "trestbps": 120.0, "fbs": "FALSE", "restecg": "normal",
}  # fmt: skip
WEIGHTS = {
    "57 years old": 0.04, "woman": -0.02, "man": 0.1, "chest pain asymptomatic": 0.2,
    "angina on exercise": 0.15, "st depression 0.6": -0.08, "maximum heart rate 163": 0.0,
    "cholesterol not recorded": 0.01,
}  # fmt: skip


def additive(texts):
    return np.array(
        [0.5 + sum(WEIGHTS[phrase] for phrase in text.split(", ") if phrase) for text in texts]
    )


def explain(score, **changes):
    asked = {"terms": TERMS, "threshold": 0.5} | changes
    return explain_record(score, ROW, [0, 1], **asked)


def test_effects_of_an_additive_model_are_its_weights():
    found = explain(additive)
    told = [phrase for phrase in WEIGHTS if phrase != "man"]
    assert [effect.phrase for effect in found.effects] == told
    for effect in found.effects:
        assert effect.change == pytest.approx(WEIGHTS[effect.phrase])
    assert found.score == pytest.approx(0.5 + sum(WEIGHTS[phrase] for phrase in told))
    assert found.positive


def test_a_swap_tells_the_score_with_the_other_word_and_whether_the_decision_flips():
    (swap,) = explain(additive).swaps
    assert (swap.feature, swap.own, swap.other) == ("sex", "Female", "Male")
    assert swap.score == pytest.approx(explain(additive).score + 0.12)
    assert not swap.flips
    (flipped,) = explain(lambda t: np.array([0.9 if "woman" in one else 0.2 for one in t])).swaps
    assert flipped.flips and flipped.score == 0.2


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_faithfulness_equals_a_loop_over_the_phrases_by_their_support(sign):
    def score(texts):
        return 0.5 + sign * (additive(texts) - 0.5)

    found = explain(score)
    assert found.positive == (sign > 0)
    told = [phrase for phrase in WEIGHTS if phrase != "man"]
    order = sorted(told, key=lambda phrase: -WEIGHTS[phrase])
    whole = score([", ".join(told)])[0]
    removed, kept = [], []
    for count in range(1, len(order)):
        first = set(order[:count])
        removed.append(score([", ".join(p for p in told if p not in first)])[0])
        kept.append(score([", ".join(p for p in told if p in first)])[0])
    expected = np.mean([sign * (whole - changed) for changed in removed])
    assert found.faithfulness.comprehensiveness == pytest.approx(expected)
    expected = np.mean([sign * (whole - changed) for changed in kept])
    assert found.faithfulness.sufficiency == pytest.approx(expected)
    assert found.faithfulness.better_than_chance


def test_random_orders_do_as_they_must_on_average_for_an_additive_model():
    # A random first half holds half of the weight: over all orders, the mean fall is half of all.
    found = explain(additive).faithfulness
    told = [weight for phrase, weight in WEIGHTS.items() if phrase != "man"]
    falls = [
        np.mean(list(itertools.accumulate(order))[:-1]) for order in itertools.permutations(told)
    ]
    spread = np.std(falls) / np.sqrt(40)
    assert found.random_comprehensiveness == pytest.approx(np.mean(falls), abs=4 * spread)


def test_an_explanation_of_a_model_that_reads_nothing_is_not_called_faithful():
    found = explain(lambda texts: np.full(len(texts), 0.7))
    assert {effect.change for effect in found.effects} == {0.0}
    assert found.faithfulness.as_comprehensive == found.faithfulness.as_sufficient == 1.0
    assert not found.faithfulness.better_than_chance


def test_an_explanation_of_a_model_that_hashes_its_text_is_not_called_faithful():
    # Every change gives another score at random, so what one phrase does says nothing of two.
    def score(texts):
        return np.array([np.random.default_rng(list(text.encode())).random() for text in texts])

    judged = [
        explain_record(
            score, {**ROW, "age": float(age)}, [0, 1], terms=TERMS, threshold=0.5
        ).faithfulness.better_than_chance
        for age in range(40, 70)
    ]
    assert sum(judged) <= 6


def test_the_same_record_gives_the_same_explanation_and_scores_each_text_once():
    seen: list[str] = []

    def score(texts):
        seen.extend(texts)
        return additive(texts)

    assert explain(score) == explain(additive)
    assert len(seen) == len(set(seen))
    assert len(seen) <= 2**7 + 1


def test_a_record_of_one_phrase_is_refused():
    alone = dataclasses.replace(
        TERMS,
        columns=tuple(
            column if column.name == "sex" else dataclasses.replace(column, phrase="")
            for column in TERMS.columns
        ),
    )
    with pytest.raises(DataError, match="leaves nothing"):
        explain(additive, terms=alone)
