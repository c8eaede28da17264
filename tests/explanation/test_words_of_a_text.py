"""Words that move an answer, by models whose reasons are known."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from fedethics.charter.document import load
from fedethics.charter.measure_terms import CounterfactualTerms, MeasureTerms
from fedethics.cli.explain import _show, marked
from fedethics.data.content import Completion, Conversation, Turn
from fedethics.errors import DataError
from fedethics.explanation.words import (
    MOST_UNITS,
    explain_words,
    units_of,
    without_spans,
    without_units,
)
from fedethics.site.explain import _words_of, explain_lines
from tests.learning_tasks.tiny_chat import chat_charter, save_chat_model

ROOT = Path(__file__).parents[2]
WEIGHTS = {"chest": 0.2, "pain": 0.1, "no": -0.15, "fever": 0.0, "patient's": 0.02}
NOTE = "Patient's chest, pain; no fever (chest)."


def additive(contents):
    """Half, and the weight of each word that is there."""
    return np.array(
        [
            0.5 + sum(WEIGHTS.get(word.strip(".,;()").lower(), 0.0) for word in text.split())
            for text in contents
        ]
    )


def test_effects_of_an_additive_model_are_the_weights_of_its_words_in_place():
    found = explain_words(additive, NOTE, positive=True)
    assert [effect.words for effect in found.effects] == [
        "Patient's", "chest", "pain", "no", "fever", "chest"
    ]  # fmt: skip
    for effect in found.effects:
        assert NOTE[effect.start : effect.end] == effect.words and effect.piece == 0
        assert effect.change == pytest.approx(WEIGHTS[effect.words.lower()])
    assert found.score == pytest.approx(0.5 + 0.02 + 0.2 + 0.1 - 0.15 + 0.2)


def test_faithfulness_is_erasers_over_a_loop_of_shares_of_the_words():
    words = [f"w{k}" for k in range(40)]
    weight = dict(zip(words, np.random.default_rng(0).normal(0, 0.01, 40), strict=True))

    def score(contents):
        return np.array([0.5 + sum(weight[word] for word in one.split()) for one in contents])

    found = explain_words(score, " ".join(words), positive=True).faithfulness
    order = sorted(words, key=lambda word: -weight[word])
    tops = [order[:count] for count in (1, 2, 4, 8, 20)]
    expected = np.mean([sum(weight[word] for word in top) for top in tops])
    assert found.comprehensiveness == pytest.approx(expected)
    whole = sum(weight.values())
    expected = np.mean([whole - sum(weight[word] for word in top) for top in tops])
    assert found.sufficiency == pytest.approx(expected)
    assert found.better_than_chance
    deaf = explain_words(lambda contents: np.full(len(contents), 0.7), NOTE, positive=True)
    assert not deaf.faithfulness.better_than_chance


def test_a_word_is_left_out_with_one_blank_and_the_answer_of_a_record_stays():
    assert without_spans("a bc d", [(2, 4)]) == "a d"
    assert without_spans("a bc", [(2, 4)]) == "a"
    assert without_spans("a bc, d", [(2, 4)]) == "a, d"
    chat = Conversation(
        (Turn("system", "be kind"), Turn("user", "who?"), Turn("assistant", "she is here"))
    )
    units = units_of(chat)
    assert [piece for piece, _ in units.values()] == [0, 0, 1]
    assert without_units(chat, units, frozenset(units)) == Conversation(
        (Turn("system", ""), Turn("user", "?"), Turn("assistant", "she is here"))
    )
    assert [piece for piece, _ in units_of(Completion("two words", "an answer")).values()] == [0, 0]


def test_of_a_long_record_neighbours_are_left_out_together_and_no_word_is_forgotten():
    text = " ".join(f"word{k}" for k in range(3 * MOST_UNITS + 5))
    units = units_of(text)
    assert len(units) <= MOST_UNITS
    places = [span for _, spans in units.values() for span in spans]
    assert [text[slice(*span)] for span in places] == text.split()


@pytest.mark.parametrize("text", ["", "one", "...", "one!"])
def test_a_text_of_fewer_than_two_words_is_refused_without_quoting_it(text):
    with pytest.raises(DataError, match="fewer than two words") as refused:
        explain_words(additive, text, positive=True)
    assert "one!" not in str(refused.value)


def test_words_are_marked_so_that_they_can_be_read_without_colours():
    effects = [
        {"start": 0, "end": 2, "change": 0.2}, {"start": 3, "end": 5, "change": -0.15},
        {"start": 6, "end": 8, "change": 0.05},
    ]  # fmt: skip
    assert marked("ab cd ef.", effects, most=0.2).plain == "[+ab+] [-cd-] ef."
    assert marked("ab cd ef.", [], most=0.0).plain == "ab cd ef."


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site with eight conversations, a tiny random model and the adapter it starts from."""
    from fedethics.training.learner import Learner

    folder = tmp_path_factory.mktemp("words")
    model = save_chat_model(folder / "model")
    charter = chat_charter(model)
    words = CounterfactualTerms(name="sex", pairs=("he/she",), count=("loss_change",))
    charter = dataclasses.replace(charter, measures=MeasureTerms(counterfactuals=(words,)))
    return charter, model, folder, Learner


def test_a_charter_that_answers_nothing_is_refused_before_a_file_is_read(site):
    charter, _, folder, _ = site
    text = dataclasses.replace(charter, model=dataclasses.replace(charter.model, task="text"))
    with pytest.raises(DataError, match="answers nothing"):
        next(explain_lines(text, data=folder / "none.jsonl", adapter=folder, lines=[1]))


def test_a_conversation_of_a_sites_file_is_explained_as_a_loop_over_its_words_does(site):
    charter, model, folder, learner_of = site
    letters = dataclasses.replace(
        load(ROOT / "examples" / "sft" / "letters.charter.toml"),
        model=charter.model, adapter=charter.adapter, measures=charter.measures,
    )  # fmt: skip
    turns = [
        {"role": "user", "content": "Greet him, he waits"},
        {"role": "assistant", "content": "Dear sir"},
    ]
    lines = [json.dumps({"addressee": "man", "messages": turns})]
    for number in range(30):
        other = [{"role": "user", "content": f"Greet number {number}"}, turns[1]]
        lines.append(json.dumps({"addressee": "woman", "messages": other}))
    file = folder / "letters.jsonl"
    file.write_text("\n".join(lines) + "\n")
    learner = learner_of(letters, model_dir=model)
    vector = learner.initial_vector()
    learner.save_adapter(vector, folder / "adapter")
    (found,) = explain_lines(
        letters, data=file, adapter=folder / "adapter", lines=[1], model_dir=model
    )

    def sure(asked):
        content = Conversation((Turn("user", asked), Turn("assistant", "Dear sir")))
        return learner.scores(vector, learner.activations([content]))[0, 0]

    told = found.explained
    assert told.answer == "the record's own answer"
    whole = sure("Greet him, he waits")
    assert told.by_words.score == pytest.approx(whole)
    left = ["him, he waits", "Greet, he waits", "Greet him, waits", "Greet him, he"]
    assert [one.change for one in told.by_words.effects] == pytest.approx(
        [whole - sure(text) for text in left]
    )
    (swap,) = told.swaps
    assert swap.score == pytest.approx(sure("Greet him, she waits")) and swap.flips is None


def test_of_several_classes_the_score_of_the_decided_one_is_explained():
    levels = load(ROOT / "configs" / "heart-levels.charter.toml")
    names, count = levels.data.label.names, len(levels.data.label.names)

    def score(contents):
        first = additive(contents)
        return np.stack([first, *[(1 - first) / (count - 1)] * (count - 1)], axis=1)

    told = _words_of(levels, score, "chest pain", 1)
    assert told.answer == names[0]
    assert [one.change for one in told.by_words.effects] == pytest.approx([0.2, 0.1])
    assert _words_of(levels, score, "no no no no", 0).answer == names[1]


def test_of_a_yes_or_no_the_score_is_that_of_yes_whatever_is_decided():
    heart = load(ROOT / "configs" / "heart.charter.toml")
    told = _words_of(heart, additive, "no pain", 0)
    assert told.answer == heart.data.label.negative_name
    assert [one.change for one in told.by_words.effects] == pytest.approx([-0.15, 0.1])


def test_a_record_explained_by_its_words_can_be_read_on_a_screen_without_colours():
    found = explain_words(additive, NOTE, positive=True)
    shown = {
        "line": 7, "part": "held out", "answer": "disease",
        "by_words": dataclasses.asdict(found),
        "swaps": [{"name": "sex", "score": 0.25, "flips": True}],
    }  # fmt: skip
    shown["by_words"]["faithfulness"]["better_than_chance"] = False
    screen = Console(file=io.StringIO(), width=100)
    _show(screen, shown, 0.5)
    said = " ".join(screen.file.getvalue().split())
    assert "Line 7 (held out): score 0.870 of disease" in said
    assert "Patient's [+chest+], [+pain+]; [-no-] fever ([+chest+])." in said
    assert "Words of sex swapped: score 0.250, the decision flips." in said
    assert "do not rely on this order" in said
