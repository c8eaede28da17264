"""What words of a public list move, summed: bounded for each record, charged, and told."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fedethics.aggregates.measures import GRID, MEASURES, MeasureLayout, layout_of_measures
from fedethics.aggregates.measures.opened import OpenedMeasures
from fedethics.aggregates.measures.report import build
from fedethics.aggregates.measures.site import tabulate_words, word_effects
from fedethics.charter import document
from fedethics.charter.document import load
from fedethics.charter.measure_terms import WORDS_OF_A_RECORD, MeasureTerms, VocabularyTerms
from fedethics.charter.model import Member
from fedethics.data.content import Completion
from fedethics.errors import CharterError
from fedethics.explanation.words import explained_targets
from fedethics.fairness.classes import Classes
from fedethics.fairness.measured import TWO_CLASSES
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.plan import make_plan
from fedethics.release.evidence import Counted

LETTERS = Path(__file__).parents[2] / "examples" / "sft" / "letters.charter.toml"
WORDS = ("chest", "pain", "she")
WEIGHTS = {"chest": 0.3, "pain": 0.2, "she": -0.1}
TEXTS = ("Chest pain", "she had no pain, no PAIN", "nothing", "painful", "she: chest")
VOCABULARY = VocabularyTerms(words=WORDS, largest_change=0.4)


def additive(texts):
    """Half, and the weight of each word that is there once or more."""
    return np.array(
        [0.5 + sum(w for word, w in WEIGHTS.items() if word in _words(text)) for text in texts]
    )


def _words(text):
    return text.lower().replace(",", " ").replace(":", " ").split()


def effects():
    return word_effects(
        WORDS, TEXTS, additive(TEXTS), told=lambda scores, _rows: scores, score=additive
    )


def test_effects_are_the_weights_of_the_words_that_a_record_holds():
    expected = [[WEIGHTS[w] if w in _words(text) else 0.0 for w in WORDS] for text in TEXTS]
    assert effects() == pytest.approx(np.array(expected), abs=1e-12)


def test_sums_are_a_loop_over_records_of_which_each_moves_at_most_the_grid_in_its_group():
    groups, most = np.array([0, 1, 1, 0, 1]), 0.4
    table = np.zeros((3, 2, 2), dtype=int)
    for row, own in zip(effects(), groups, strict=True):
        together = sum(abs(one) for one in row)
        for place, one in enumerate(row):
            share = abs(one) / max(together, most)
            table[place, own, 0 if one > 0 else 1] += int(share * GRID + 1e-9) if one else 0
    found = tabulate_words(effects(), groups=groups, count=2, largest_change=most)
    assert np.abs(found.reshape(3, 2, 2) - table).max() <= 1
    rng = np.random.default_rng(0)
    many = rng.normal(0, 0.3, (40, 7)) * (rng.random((40, 7)) < 0.6)
    many[3] = 0.4 / 7  # as many steps as there are, to the last
    own = rng.integers(0, 2, 40)

    def vector(keep):
        return tabulate_words(many[keep], groups=own[keep], count=2, largest_change=most)

    whole = vector(np.ones(40, dtype=bool))
    for left_out in range(40):
        moved = (whole - vector(np.arange(40) != left_out)).reshape(7, 2, 2)
        assert (moved >= 0).all() and moved.sum() <= GRID
        assert not moved[:, 1 - own[left_out]].any()


def test_words_of_a_records_own_answer_are_never_left_out():
    texts = (Completion("is she here", "she is"), Completion("who", "she"))
    seen = []

    def score(contents):
        seen.extend(contents)
        return np.zeros(len(contents))

    word_effects(("she",), texts, np.zeros(2), told=lambda scores, _rows: scores, score=score)
    assert seen == [Completion("is here", "she is"), texts[1]]


def test_how_many_texts_are_scored_does_not_follow_from_the_words_that_records_hold():
    words = tuple(f"w{place}" for place in range(30))

    def scored(*texts):
        sizes = []

        def score(contents):
            sizes.append(len(contents))
            return np.array([len(content) / 1000 for content in contents])

        whole = np.array([len(text) / 1000 for text in texts])
        found = word_effects(words, texts, whole, told=lambda scores, _rows: scores, score=score)
        return sizes, found

    every = " ".join(words)
    without, none = scored("nothing", "at all")
    some, _ = scored("w1 and w7", "nothing")
    full, moved = scored(every, "nothing")
    assert without == some == full == [2] * WORDS_OF_A_RECORD
    assert not none.any() and not moved[1].any()
    assert np.count_nonzero(moved[0]) == WORDS_OF_A_RECORD
    # Which of its words are scored follows from the record alone.
    _, beside = scored("w1", every, "w2")
    assert beside[1].tolist() == moved[0].tolist()


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 1e308])
def test_an_effect_that_is_no_number_moves_no_more_than_the_grid(odd):
    effects = np.array([[0.1, odd, odd], [0.1, -0.1, 0.0]])
    found = tabulate_words(effects, groups=np.array([0, 1]), count=2, largest_change=0.4)
    assert found.min() >= 0 and found.reshape(3, 2, 2).sum(axis=(0, 2)).max() <= GRID
    assert found.reshape(3, 2, 2)[:, 1].sum() == 2 * (GRID // 4)


def test_the_score_that_is_explained_is_of_yes_or_of_the_decided_class():
    labels = np.array([0, 1])
    asked = {"threshold": 0.5, "labelled": True}
    two = explained_targets(TWO_CLASSES, np.array([0.1, 0.9]), labels, **asked)
    assert two.tolist() == [1, 1]
    scores = np.array([[0.2, 0.1, 0.7], [0.6, 0.2, 0.2]])
    three = explained_targets(Classes(("a", "b", "c")), scores, labels, **asked)
    assert three.tolist() == [2, 0]


@pytest.fixture(scope="module")
def letters():
    roster = tuple(
        Member(site=site, public_key=f"{place:02x}" * 32, declared_records=2000)
        for place, site in enumerate(("east", "north", "south"), start=1)
    )
    terms = MeasureTerms(feature="addressee", epsilon=1.0, vocabulary=VOCABULARY)
    return dataclasses.replace(load(LETTERS), roster=roster, measures=terms)


def test_all_words_are_one_release_within_the_epsilon_of_the_charter(letters):
    (event,) = MEASURES.of(make_plan(letters).sums).events
    assert event.sensitivity == GRID and event.releases == 1
    assert 0.9 < epsilon([event], delta=letters.privacy.delta) <= 1.0
    both = dataclasses.replace(letters.measures, names=("token_loss",))
    plan = make_plan(dataclasses.replace(letters, measures=both))
    events = MEASURES.of(plan.sums).events
    assert len(events) == 3
    assert epsilon(events, delta=letters.privacy.delta) <= 1.0


def test_sums_are_told_by_word_and_group_with_an_interval_that_holds_their_noise(letters):
    rng, layout = np.random.default_rng(2), layout_of_measures(letters)
    assert layout == MeasureLayout(measures={}, groups=("woman", "man"), words=WORDS)
    std = MEASURES.of(make_plan(letters).sums).words.sum_std
    moved = rng.normal(0.01, 0.02, (3000, 3)).clip(-0.1, 0.1)
    groups = rng.integers(0, 2, 3000)
    exact = tabulate_words(moved, groups=groups, count=2, largest_change=0.4)
    covered = total = 0
    for _ in range(20):
        noised = exact + np.rint(rng.normal(0, std, exact.size)).astype(int)
        opened = OpenedMeasures(letters, tuple(map(int, noised)))
        for place, word in enumerate(WORDS):
            for name, one in opened.word(word, confidence=0.95).items():
                rows = {"everyone": groups >= 0, "woman": groups == 0, "man": groups == 1}[name]
                # Each record's steps are cut off: up to a step less in either direction.
                slack = rows.sum() * 0.4 / GRID / 2
                truth = moved[rows, place].sum()
                covered += one.low - slack <= truth <= one.high + slack
                total += 1
    assert total == 180 and covered >= 160


def test_the_report_has_a_table_of_words_and_says_what_it_is_not(letters):
    layout = layout_of_measures(letters)
    found = Counted(kind="measures", round=letters.training.rounds, counts=(64,) * layout.length)
    evidence = SimpleNamespace(counted=(found,), rounds=())
    section = build(SimpleNamespace(charter=letters, evidence=evidence), None)
    assert list(section.tables) == ["What words move"]
    rows = section.tables["What words move"].rows
    assert [row[:2] for row in rows[:3]] == [
        ("chest", "everyone"), ("chest", "addressee: woman"), ("chest", "addressee: man")
    ]  # fmt: skip
    assert "no cause in the world" in section.explanation


@pytest.mark.parametrize(
    ("words", "task", "why"),
    [
        (("pain", "Pain"), "sft", "a word is listed twice"),
        ((" pain",), "sft", "has a blank at an end"),
        ((), "sft", "must not be empty"),
        (tuple(f"w{k}" for k in range(501)), "sft", "at most 500 are scored"),
        (("w" * 65,), "sft", "one of 65 characters; at most 64"),
        (("pain",), "text", "no word moves an answer"),
    ],
)
def test_a_list_that_could_not_be_summed_is_refused(words, task, why):
    charter = load(LETTERS)
    terms = MeasureTerms(vocabulary=VocabularyTerms(words=words))
    model = dataclasses.replace(charter.model, task=task)
    with pytest.raises(CharterError) as refused:
        document.parse(document.encode(dataclasses.replace(charter, measures=terms, model=model)))
    assert why in str(refused.value)
    if task == "sft":
        fine = dataclasses.replace(charter, measures=MeasureTerms(vocabulary=VOCABULARY))
        assert document.parse(document.encode(fine)) == fine
