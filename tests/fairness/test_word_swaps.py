"""Whole words swapped in the case that they are written in, and charters that list such words."""

from __future__ import annotations

import dataclasses
import re
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fedethics.aggregates.measures import MEASURES, layout_of_measures
from fedethics.aggregates.measures.gate import examine
from fedethics.aggregates.measures.report import build
from fedethics.aggregates.measures.site import Numbers, tabulate_values
from fedethics.charter import document
from fedethics.charter.classifier_terms import ClassifierTerms
from fedethics.charter.document import load
from fedethics.charter.measure_terms import (
    CounterfactualTerms,
    GenerationTerms,
    MeasureObjective,
    MeasureTerms,
)
from fedethics.charter.model import Member
from fedethics.counterfactuals import Pair, WordFinder, WordSwap, clashes, pairs_of
from fedethics.data.content import Completion, Conversation, Preference, Turn, parts, rewritten
from fedethics.errors import CharterError
from fedethics.privacy.plan import make_plan
from fedethics.release.evidence import Counted
from fedethics.release.rules.bars import together

LETTERS = Path(__file__).parents[2] / "examples" / "sft" / "letters.charter.toml"
GENDER = ("he/she", "his/her", "him>her", "woman/man", "woman's/man's own")


def swap_of(*entries):
    return WordSwap([pair for entry in entries for pair in pairs_of(entry)])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("he saw her", "she saw his"),
        ("He, SHE and hE", "She, HE and hE"),
        ("they gave him theirs; the heron", "they gave her theirs; the heron"),
        ("She's here (he'd said)", "He's here (she'd said)"),
        ("a woman's and a man's", "a man's own and a woman's"),
        ("woman_1, woman-like, 'woman'", "woman_1, man-like, 'man'"),
        ("he\u0301 is no he", "he\u0301 is no she"),
        ("", ""),
    ],
)
def test_whole_words_are_swapped_at_once_in_their_own_case(text, expected):
    assert swap_of(*GENDER)(text) == expected


def test_a_name_is_swapped_as_listed_and_not_as_the_verb_that_it_also_is():
    swap = swap_of("Will/Keisha", "Zo\u00eb/\u0130nci")
    assert swap("Will will, WILL did; Keisha") == "Keisha will, KEISHA did; Will"
    assert swap("Zo\u00eb, ZO\u00cb, Zoe") == "\u0130nci, \u0130NCI, Zoe"


def test_words_are_found_where_one_regular_expression_over_all_of_them_finds_them():
    rng, letters = np.random.default_rng(0), [*"ab -_.\u0301\u00e9"]
    for _ in range(300):
        words = {"".join(rng.choice(letters, rng.integers(1, 6))) for _ in range(8)}
        listed = "|".join(map(re.escape, sorted(words, key=lambda one: (-len(one), one))))
        text = "".join(rng.choice(letters, 60))
        expected = [
            found.span()
            for found in re.finditer(rf"(?<!\w)(?:{listed})(?!\w)", text)
            if text[found.end() : found.end() + 1] != "\u0301"
        ]
        assert WordFinder(words)(text) == expected


def test_many_words_that_begin_alike_do_not_make_a_text_slow():
    swap = WordSwap([Pair("- " * (k % 30) + f"x{k}", "y") for k in range(500)])
    begun = time.process_time()
    assert swap("- " * 20_000) == "- " * 20_000
    assert time.process_time() - begun < 5


def test_characters_of_regular_expressions_are_plain_characters():
    swap = swap_of("c++/c#", "(m)/(f)", "a.b/x\\1", "$5>[z]")
    assert swap("c++ c# acb a.b (m) $5 c+++") == "c# c++ acb x\\1 (f) [z] c#+"
    assert swap("x\\1 [z]") == "a.b [z]"


def test_a_text_without_a_listed_word_is_the_same_and_every_piece_of_a_record_is_swapped():
    swap = swap_of(*GENDER)
    assert swap("nobody is named") == "nobody is named"
    for content in (
        "he", Completion("he", "she"), Preference("he", "she", "he"),
        Conversation((Turn("user", "he"), Turn("assistant", "she"))),
    ):  # fmt: skip
        changed = rewritten(content, swap)
        assert type(changed) is type(content)
        assert [part != own for part, own in zip(parts(changed), parts(content), strict=True)]
        assert rewritten(changed, swap) == content


def test_a_word_with_two_stand_ins_is_told_with_the_way_out():
    pairs = [pair for entry in ("he/she", "his/her", "him/her") for pair in pairs_of(entry)]
    (said,) = clashes(pairs)
    assert said == (
        "'her' would become both 'his' and 'him'; write one entry one way, for example 'him>her'"
    )
    assert not list(clashes([pair for entry in GENDER for pair in pairs_of(entry)]))


BAR = MeasureObjective(
    metric="gender_loss_change", bar=0.5, direction="at-most", why="Words alone must not matter."
)
WORDS = CounterfactualTerms(name="gender", pairs=GENDER, count=("loss_change",))
ASKED = MeasureTerms(
    feature="addressee", epsilon=2.0, counterfactuals=(WORDS,), objectives=(BAR,)
)  # fmt: skip


def drafted(**changes):
    words = dataclasses.replace(WORDS, **changes)
    return dataclasses.replace(
        load(LETTERS), measures=dataclasses.replace(ASKED, counterfactuals=(words,))
    )


def test_a_charter_with_words_is_read_as_it_was_written_and_another_keeps_its_bytes():
    charter = drafted(first=("Emily (E.)",), second=("Greg*",))
    assert document.parse(document.encode(charter)) == charter
    bare = dataclasses.replace(charter, measures=MeasureTerms(names=("token_loss",)))
    assert b"counterfactuals" not in document.encode(bare)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"pairs": ("he-she",)}, "'he-she' is no pair of words: write 'he/she'"),
        ({"pairs": ("he/he",)}, "is no pair of words"),
        ({"pairs": ("a/b/c",)}, "is no pair of words"),
        ({"pairs": ("his/her", "him/her")}, "'her' would become both 'his' and 'him'"),
        ({"pairs": (), "first": (), "second": ()}, "no word is listed"),
        ({"first": ("Emily", "Anne"), "second": ("Lakisha",)}, "first has 2 names and second 1"),
        ({"first": ("Emily",), "second": ("Emily",)}, "two different words are needed"),
        ({"pairs": tuple(f"a{k}/b{k}" for k in range(501))}, "501 entries; at most 500"),
        ({"pairs": ("a>" + "z" * 65,)}, "a word of 65 characters; at most 64 are swapped"),
        ({"first": ("a" * 65,), "second": ("b",)}, "a word of 65 characters"),
        ({"count": ("charm",)}, "change 'charm' is unknown; known: flips, loss_change"),
        ({"count": ()}, "name each of flips, loss_change"),
        ({"count": ("flips",)}, "model.task 'sft' decides nothing of a record"),
    ],
)
def test_words_that_could_not_be_swapped_are_refused(changes, why):
    with pytest.raises(CharterError) as refused:
        document.parse(document.encode(drafted(**changes)))
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("name", "clash"),
    [
        ("token_loss", "token_loss"),
        ("token_accuracy", "token_accuracy"),
        ("rouge_l", "two scorers have the same name"),
        ("gender_loss_change", "gender_loss_change"),
        ("token_loss_difference", "token_loss_difference"),
    ],
)
def test_a_classifier_cannot_take_the_name_of_another_measure(name, clash):
    def charter(name):
        judge = ClassifierTerms(name=name, sha256="0" * 64, label="toxic")
        generation = GenerationTerms(scorers=("rouge_l/1",), classifiers=(judge,))
        measures = dataclasses.replace(ASKED, names=("token_loss",), generation=generation)
        return dataclasses.replace(load(LETTERS), measures=measures)

    with pytest.raises(CharterError, match=clash):
        document.parse(document.encode(charter(name)))
    assert document.parse(document.encode(charter("toxicity"))) == charter("toxicity")


def opened(charter, *, change, records=4000):
    """The opened sum where two thirds of the records hold a listed word."""
    rng, layout = np.random.default_rng(5), layout_of_measures(charter)
    groups = rng.integers(0, 2, records)
    rows = np.flatnonzero(rng.random(records) < 2 / 3)
    values = rng.beta(2, 2 / change - 2, len(rows))
    numbers = {"gender_loss_change": Numbers(rows=rows, values=values)}
    counts = tabulate_values(layout, groups=groups, numbers=numbers)
    plan = MEASURES.of(make_plan(charter).sums)
    stds = [plan.values.sum_std] * layout.values_length
    stds += [plan.spread.sum_std] * (layout.length - layout.values_length)
    noised = counts + np.rint(rng.normal(0, stds)).astype(int)
    found = Counted(kind="measures", round=charter.training.rounds, counts=tuple(map(int, noised)))
    evidence = SimpleNamespace(counted=(found,), rounds=())
    return SimpleNamespace(charter=charter, evidence=evidence), values.mean(), len(rows) / records


@pytest.fixture(scope="module")
def letters():
    roster = tuple(
        Member(site=site, public_key=f"{place:02x}" * 32, declared_records=2000)
        for place, site in enumerate(("east", "north", "south"), start=1)
    )
    return dataclasses.replace(load(LETTERS), roster=roster, measures=ASKED)


@pytest.mark.parametrize(("change", "verdict"), [(0.05, "pass"), (0.3, "fail")])
def test_a_bar_on_what_the_words_change_is_a_rule_of_the_gate(letters, change, verdict):
    folder, mean, _ = opened(letters, change=change)
    (rule,) = together(examine(folder))
    assert rule.verdict == verdict
    assert rule.figure.low < 4 * mean < rule.figure.high


def test_the_report_counts_records_without_a_listed_word_apart(letters):
    folder, _, share = opened(letters, change=0.1)
    section = build(folder, None)
    rows = section.tables["Records that hold one of the swapped words"].rows
    assert [row[1] for row in rows] == ["everyone", "addressee: woman", "addressee: man"]
    assert float(rows[0][2]) == pytest.approx(share, abs=0.05)
    assert "does not show fair treatment" in " ".join(section.explanation.split())


@pytest.mark.parametrize(
    ("decided", "verdict"),
    [([[400, 100], [100, 400]], "pass"), ([[500, 0], [500, 0]], "cannot conclude")],
)
def test_where_nothing_is_decided_nothing_flips_and_the_bar_does_not_hold(
    letters, from_counts, decided, verdict
):
    words = CounterfactualTerms(name="gender", pairs=GENDER, count=("flips",))
    bar = dataclasses.replace(BAR, metric="gender_flips", bar=0.1)
    heart = load(LETTERS.parents[2] / "configs" / "heart.charter.toml")
    charter = dataclasses.replace(
        heart,
        roster=letters.roster,
        measures=MeasureTerms(epsilon=1.0, counterfactuals=(words,), objectives=(bar,)),
    )
    rows = np.arange(2000)
    numbers = {"gender_flips": Numbers(rows=rows, values=np.zeros(2000))}
    groups = np.zeros(2000, dtype=int)
    counts = tabulate_values(layout_of_measures(charter), groups=groups, numbers=numbers)
    found = Counted(kind="measures", round=charter.training.rounds, counts=tuple(map(int, counts)))
    folder = SimpleNamespace(
        charter=charter,
        evidence=SimpleNamespace(counted=(found,), rounds=()),
        tables=from_counts([decided, decided]),
    )
    (rule,) = together(examine(folder))
    assert rule.verdict == verdict
    assert ("nothing is decided" in rule.sentence) == (verdict != "pass")
