"""Words swapped in held-out texts: what is summed is what a loop over single records adds up."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fedethics.aggregates.measures import GRID, MeasureLayout
from fedethics.aggregates.measures.site import (
    Numbers,
    _of_the_task,
    swapped_numbers,
    tabulate_values,
)
from fedethics.charter.measure_terms import CounterfactualTerms, MeasureTerms
from fedethics.data.content import Completion, Conversation, Preference, Turn
from fedethics.errors import DataError
from fedethics.fairness.measured import TWO_CLASSES
from fedethics.learning_tasks import find_task
from fedethics.site.explanation import score_texts
from fedethics.training.learner import Learner
from tests.learning_tasks.test_choice import choice_of
from tests.learning_tasks.tiny_chat import CHATML, chat_charter, save_chat_model
from tests.training.tiny_models import save_tiny

torch.set_num_threads(1)
CUT = 4.0
STAND_INS = {"a": "b", "b": "a", "c": "d", "e": "f", "f": "e"}


def words_of(*count):
    return CounterfactualTerms(
        name="sex", pairs=("a/b", "c>d"), first=("e",), second=("f",), count=count
    )


def vector_of(learner, *, size=0.5):
    shift = size * np.random.default_rng(3).standard_normal(learner.size)
    return (learner.initial_vector() + shift).astype(np.float32)


def by_hand(text):
    return " ".join(STAND_INS.get(word, word) for word in text.split(" "))


def summed(learner, charter, words, texts, labels, groups, *, cut=CUT):
    """The vector that a site would add to the sum, without noise."""
    task, vector = find_task(charter.model.task), vector_of(learner)
    score = partial(score_texts, learner, vector)
    numbers = swapped_numbers(
        words,
        SimpleNamespace(texts=texts, labels=labels),
        score(texts),
        score=score,
        measured=task.measured(charter.data.labels),
        threshold=0.5,
        largest_loss=cut,
    )
    layout = MeasureLayout(measures=words.bounded(cut), groups=("woman", "man"))
    return layout, tabulate_values(layout, groups=groups, numbers=numbers)


def alone(learner, text):
    return learner.scores(vector_of(learner), learner.activations([text]))[0]


def flips(before, after):
    return before.argmax() != after.argmax() if before.ndim else (before >= 0.5) != (after >= 0.5)


def sure(scores, label):
    return scores[label] if scores.ndim else (scores if label else 1 - scores)


def looped(learner, texts, labels, groups):
    """Flips and changes of the loss, one record and one group at a time."""
    flipped, loss = np.zeros((2, 3), dtype=int), np.zeros((2, 3), dtype=int)
    for text, label, group in zip(texts, labels, groups, strict=True):
        changed = by_hand(text)
        if changed == text:
            flipped[group, 2] += GRID
            loss[group, 2] += GRID
            continue
        before, after = alone(learner, text), alone(learner, changed)
        flipped[group, 1 - int(flips(before, after))] += GRID
        nats = [min(-np.log(sure(one, label)), CUT) for one in (before, after)]
        steps = round(abs(nats[1] - nats[0]) / CUT * GRID)
        loss[group] += (steps, GRID - steps, 0)
    return flipped, loss


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    def build(task, tiny_charter, tiny_folder):
        if task == "classification":
            return tiny_charter(), tiny_folder
        folder = tmp_path_factory.mktemp(task)
        save_tiny(folder, "llama", task="causal-lm")
        return choice_of(folder, "llama", ("yes", "no", "t", "s")), folder

    return build


@pytest.mark.parametrize("task", ["classification", "choice"])
def test_flips_and_loss_changes_are_those_of_a_loop(case, task, tiny_charter, tiny_folder):
    charter, folder = case(task, tiny_charter, tiny_folder)
    learner, random = Learner(charter, model_dir=folder), np.random.default_rng(0)
    texts = [
        " ".join(random.choice([*"abcdefghij"], size=random.integers(1, 5))) for _ in range(60)
    ]
    classes = len(find_task(charter.model.task).classes(charter.data.labels))
    labels, groups = random.integers(0, classes, 60), random.integers(0, 2, 60)
    words = words_of("flips", "loss_change")
    layout, found = summed(learner, charter, words, texts, labels, groups)
    flipped, loss = looped(learner, texts, labels, groups)
    assert flipped[:, 0].sum() and flipped[:, 1].sum() and flipped[:, 2].sum()
    assert found[:6].reshape(2, 3).tolist() == flipped.tolist()
    assert np.abs(found[6:12].reshape(2, 3) - loss).max() <= 1  # half a step is rounded either way
    assert layout.values_length == 12 and layout.spread_names == ("sex_loss_change",)


def test_of_a_conversation_every_turn_is_swapped_and_the_loss_of_its_answers_compared(tmp_path):
    folder = save_chat_model(tmp_path)
    charter = chat_charter(folder)
    learner = Learner(charter, model_dir=folder)
    texts = [
        Conversation((Turn("user", "a or c"), Turn("assistant", "b, of course"))),
        Conversation((Turn("user", "nothing"), Turn("assistant", "at all"))),
        Completion("who is e", "it was d"),
        Completion("x" * 300 + " a", "does not fit"),
    ]
    changed = [
        Conversation((Turn("user", "b or d"), Turn("assistant", "a, of course"))),
        texts[1],
        Completion("who is f", "it was d"),
    ]
    groups = np.array([0, 1, 1, 0])
    _, found = summed(
        learner, charter, words_of("loss_change"), texts, np.zeros(4, int), groups, cut=40.0
    )
    losses = [
        [min(-np.log(alone(learner, one)[0]), 40.0) for one in both]
        for both in zip(texts[:3], changed, strict=True)
    ]
    steps = [round(abs(after - before) / 40.0 * GRID) for before, after in losses]
    assert steps[0] and steps[2]
    # The record without a listed word, and the one that the model cannot read, are counted apart.
    table = [[steps[0], GRID - steps[0], GRID], [steps[2], GRID - steps[2], GRID]]
    assert np.abs(found[:6].reshape(2, 3) - table).max() <= 1


def test_how_many_texts_are_scored_does_not_follow_from_the_words_that_records_hold():
    sizes = []

    def score(texts):
        sizes.append(len(texts))
        return np.full(len(texts), 0.5)

    for texts in (("nothing", "at all", "here"), ("a", "at all", "here"), ("a", "b", "c")):
        swapped_numbers(
            words_of("flips", "loss_change"),
            SimpleNamespace(texts=texts, labels=np.zeros(3, dtype=int)),
            np.full(3, 0.5),
            score=score,
            measured=TWO_CLASSES,
            threshold=0.5,
            largest_loss=CUT,
        )
    assert sizes == [3, 3, 3]


def test_a_site_without_a_held_out_record_adds_nothing():
    sft = find_task("sft")
    words = words_of("loss_change")
    none = SimpleNamespace(texts=(), labels=np.zeros(0, dtype=int))
    found = swapped_numbers(
        words, none, np.zeros(0), score=lambda _: np.zeros(0), measured=sft.measured(None),
        threshold=0.5, largest_loss=CUT,
    )  # fmt: skip
    charter = SimpleNamespace(
        model=SimpleNamespace(task="sft"),
        data=SimpleNamespace(labels=None),
        measures=MeasureTerms(names=("token_loss", "token_accuracy")),
    )
    found |= _of_the_task(SimpleNamespace(charter=charter), np.zeros(0))
    measures = charter.measures.bounded("sft") | words.bounded(CUT)
    layout = MeasureLayout(measures=measures, groups=("woman", "man"))
    assert not tabulate_values(layout, groups=np.zeros(0, dtype=int), numbers=found).any()


def test_a_changed_text_waits_for_the_proof_of_no_shape(tiny_charter, tiny_folder, monkeypatch):
    learner = Learner(tiny_charter(), model_dir=tiny_folder)
    vector, texts = vector_of(learner), ["a b", " ".join("abcdefgh" * 5)]
    before = learner.scores(vector, learner.activations(texts))
    proven = []
    monkeypatch.setattr("fedethics.training.learner.is_apart", lambda *_: proven.append(1) or True)
    learner._proven.clear()
    found = score_texts(learner, vector, texts)
    assert not proven
    assert found == pytest.approx(before, abs=1e-6)
    assert score_texts(learner, vector, texts[1:]).tolist() == found[1:].tolist()


REFUSES = (
    "{% for m in messages %}{% if 'zzz' in m['content'] %}{{ raise_exception('no') }}"
    "{% endif %}{% endfor %}"
)
NEVER_ENDS = (
    "{% for m in messages %}{% if 'zzz' in m['content'] %}{% for i in range(99999) %}"
    "{% for j in range(99999) %}{% endfor %}{% endfor %}{% endif %}{% endfor %}"
)


@pytest.mark.parametrize("template", [REFUSES, NEVER_ENDS])
def test_a_swapped_text_without_tokens_counts_for_its_own_record_alone(tmp_path, template):
    folder = save_chat_model(tmp_path)
    charter = chat_charter(folder, chat_template=template + CHATML)
    learner = Learner(charter, model_dir=folder)
    words = CounterfactualTerms(name="sex", pairs=("Jane>zzz", "he/she"), count=("loss_change",))
    texts = [Completion("who is it", "Jane"), Completion("he", "went"), Completion("no", "one")]
    labels, groups = np.zeros(3, int), np.array([0, 1, 0])
    _, found = summed(learner, charter, words, texts, labels, groups, cut=40.0)
    nats = -np.log(alone(learner, texts[0])[0])
    steps = round((40.0 - nats) / 40.0 * GRID)
    assert abs(found[0] - steps) <= 1 and found[:3].sum() == 2 * GRID and found[2] == GRID
    _, without = summed(learner, charter, words, texts[1:], labels[1:], groups[1:], cut=40.0)
    spread = np.zeros_like(found[6:])
    spread[0] = found[6]
    moved = [found[0], found[1], 0, 0, 0, 0, *spread]
    assert (found - without).tolist() == moved
    # Records themselves are refused by name, before anything is charged.
    with pytest.raises(DataError):
        learner.tokens([Completion("zzz", "zzz")])


def test_of_a_pair_whose_changed_text_has_no_tokens_nothing_is_an_error(tmp_path):
    folder = save_chat_model(tmp_path)
    charter = chat_charter(
        folder, form="preference", task="preference", beta=0.1, chat_template=REFUSES + CHATML
    )
    learner = Learner(charter, model_dir=folder)
    pairs = [Preference("which", "zzz", "that"), Preference("which", "this", "that")]
    found = score_texts(learner, vector_of(learner), pairs)
    assert found[0] == 0.5 and found[1] != 0.5


def test_a_record_moves_one_group_by_the_grid_whether_or_not_it_holds_a_word():
    layout = MeasureLayout(
        measures=words_of("flips", "loss_change").bounded(CUT), groups=("w", "m")
    )
    rng, groups = np.random.default_rng(1), np.array([0, 1, 1, 0, 1, 0])
    rows, values = np.array([0, 2, 5]), rng.random(3)

    def vector(keep):
        place = np.flatnonzero(keep)
        held = [np.flatnonzero(place == row)[0] for row in rows if keep[row]]
        numbers = {
            "sex_flips": Numbers(rows=np.array(held), values=np.rint(values[keep[rows]])),
            "sex_loss_change": Numbers(rows=np.array(held), values=values[keep[rows]]),
        }
        return tabulate_values(layout, groups=groups[keep], numbers=numbers)

    whole = vector(np.ones(6, dtype=bool))
    for left_out in range(6):
        moved = whole - vector(np.arange(6) != left_out)
        tables, spread = moved[:12].reshape(2, 2, 3), moved[12:]
        assert (moved >= 0).all() and spread.max() <= GRID
        assert tables.sum(axis=2)[:, groups[left_out]].tolist() == [GRID, GRID]
        assert tables.sum() == 2 * GRID
