"""A label of several classes: what each cell means, and what no label could be."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from fedethics import terms as tables
from fedethics.charter import document
from fedethics.charter.data_terms import LabelColumn
from fedethics.charter.model import Member
from fedethics.errors import CharterError
from fedethics.identity import Identity

ROOT = Path(__file__).parents[2]
TWO = """positive = ["1", "2", "3", "4"]
negative = ["0"]
positive-name = "disease"
negative-name = "no disease"
"""
LEVELS = 'classes = ["none=0", "mild=1", "severe=2|3|4"]\n'


def read(**label):
    problems: list[str] = []
    found = tables.read(LabelColumn, {"column": "num", **label}, path="label", problems=problems)
    return found, problems


@pytest.fixture
def charter(tmp_path, heart_text):
    """Load the heart charter with some lines replaced: `charter((old, new), ...)`."""

    def load(*changes):
        text = heart_text
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        head, _, tail = text.partition("[[ethics.objectives]]")
        rest = tail[tail.index("[model]") :]
        text = (
            head
            + '[[ethics.objectives]]\nmetric = "recall_score_group_min[severe]"\nfeature = "sex"\n'
            + 'bar = 0.4\ndirection = "at-least"\nwhy = "Found in each sex."\n\n'
            + rest
        )
        path = tmp_path / "charter.toml"
        path.write_text(text)
        return document.load(path)

    return load


def test_a_class_is_its_name_or_its_name_and_the_cells_that_mean_it():
    label, problems = read(classes=["none=0", "mild=1|2", "severe", r"a\=b=x\|y|z\=1"])
    assert problems == []
    assert label.names == ("none", "mild", "severe", "a=b")
    assert dict(label.by_cell) == {
        "0": 0, "1": 1, "2": 1, "severe": 2, "x|y": 3, "z=1": 3
    }  # fmt: skip


def test_a_yes_or_no_is_the_same_charter_as_before_there_were_classes():
    # The hashes of these files before the field was added.
    for name, begins in (
        ("heart", "027be15356987093"), ("heart-sft", "665594cc76b45fbe"),
        ("adult", "d5977f8e9d0b5033"),
    ):  # fmt: skip
        loaded = document.load(ROOT / "configs" / f"{name}.charter.toml")
        assert document.hash_of(loaded).startswith(begins)
        assert b'"classes"' not in document.encode(loaded)


def test_a_charter_of_classes_is_read_written_and_hashed(charter):
    levels = charter((TWO, LEVELS))
    assert levels.data.label.names == ("none", "mild", "severe")
    assert document.parse(document.encode(levels)) == levels


@pytest.mark.parametrize(
    ("classes", "problem"),
    [
        (["none=0"], "1 of them; a charter has 2 to 1,000"),
        ([f"c{k}" for k in range(1001)], "1001 of them; a charter has 2 to 1,000"),
        (["none=0", "none=1"], "the name 'none' is listed twice"),
        (["none=0|1", "mild=1"], "the value '1' is listed twice"),
        (["none=0|0", "mild=1"], "the value '0' is listed twice"),
        (["none=0", "mild="], "names an empty value; an empty cell is never a label"),
        (["none=0|", "mild=1"], "names an empty value"),
        (["none=0", "=1"], "has no name"),
        (["none=0", "mild=1=2"], "has two ="),
        (["none=0", "mild= 1"], "blank at an end"),
    ],
)
def test_what_no_record_could_have_or_nobody_could_tell_apart_is_refused(classes, problem):
    _, problems = read(classes=classes)
    assert any(problem in one for one in problems), problems


@pytest.mark.parametrize(
    ("label", "problem"),
    [
        ({"options": ["x", "y", "z"], "classes": ["A", "B"]}, "3 columns for 2 classes"),
        ({"options": ["x"], "classes": ["A", "B"]}, "1 columns for 2 classes"),
        ({"options": ["x", "x"], "classes": ["A", "B"]}, "a column is listed twice"),
        ({"options": ["x", "y"]}, "need `classes`"),
        ({"options": [], "classes": ["A", "B"]}, "must not be empty"),
    ],
)
def test_each_class_of_multiple_choice_names_one_option(label, problem):
    _, problems = read(**label)
    assert any(problem in one for one in problems), problems


def test_an_option_that_the_model_would_not_read_is_refused(charter):
    with pytest.raises(CharterError, match=r"label\.options: fbs, unheard: no column of that name"):
        charter((TWO, LEVELS + 'options = ["cp", "fbs", "unheard"]\n'))


def test_a_label_has_one_form(charter):
    _, problems = read(classes=["a", "b"], positive=["1"])
    assert "given together with positive and negative" in problems[0]
    _, problems = read()
    assert [one.partition(" ")[2][:9] for one in problems] == [
        "positive:", "negative:", "positive-", "negative-"
    ]  # fmt: skip


def test_what_classes_do_not_answer_is_refused_by_name(charter):
    with pytest.raises(CharterError) as refused:
        charter((TWO, 'classes = ["none=0", "mild=1"]\n'))
    assert str(refused.value).count("severe") == 1
    assert "'severe' is no class of data.label, whose classes are none, mild" in str(refused.value)
    with pytest.raises(CharterError) as refused:
        charter()
    assert "recall_score_group_min[severe] cannot be computed" in str(refused.value)


IMPOSSIBLE = 'impossible = ["sex=Male: severe"]\n'


@pytest.mark.parametrize(
    ("label", "why"),
    [
        (LEVELS + IMPOSSIBLE, "'sex=Male: severe' in data.label.impossible"),
        (LEVELS + 'impossible = ["sex=Mars: mild"]\n', "names no declared group and class"),
        (LEVELS + 'impossible = ["sex=Male: mild", "sex=Male: none"]\n', "fewer than two classes"),
        (TWO + IMPOSSIBLE, "this label is a yes or no"),
    ],
)
def test_a_class_that_a_group_cannot_have_is_declared_and_never_judged(charter, label, why):
    with pytest.raises(CharterError) as refused:
        charter((TWO, label))
    assert why in str(refused.value)


def test_more_classes_than_held_out_records_are_refused_before_the_run(charter):
    many = ", ".join(f'"level {k}"' for k in range(30))
    loaded = charter((TWO, f'classes = ["severe", {many}]\n'))
    stated = dataclasses.replace(
        loaded.ethics.objectives[0], metric="recall_score_group_min", bar=0.1
    )
    roster = tuple(
        Member(site=site, public_key=Identity.generate().public_key, declared_records=20)
        for site in ("east", "north", "south", "west")
    )
    ethics = dataclasses.replace(loaded.ethics, objectives=(stated,))
    key = Identity.generate().public_key
    few = dataclasses.replace(loaded, roster=roster, ethics=ethics, coordinator_key=key)
    with pytest.raises(CharterError) as refused:
        document.parse(document.encode(few))
    assert "rests on each of 31 classes in each of 2 groups" in str(refused.value)
    enough = tuple(dataclasses.replace(one, declared_records=600) for one in roster)
    larger = dataclasses.replace(few, roster=enough)
    assert document.parse(document.encode(larger)) == larger


@pytest.mark.parametrize("task", ["regression", "multi-label", "token_classification", "NER"])
def test_tasks_of_another_kind_are_refused_with_what_is_offered(task, heart_text, tmp_path):
    path = tmp_path / "charter.toml"
    path.write_text(heart_text.replace("[model]\n", f'[model]\ntask = "{task}"\n'))
    with pytest.raises(CharterError, match=r"model\.task: refused by name: .*2 to 1,000 classes"):
        document.load(path)


def test_two_answers_of_a_language_model_have_no_classes(root):
    loaded = document.load(root / "configs" / "heart-sft.charter.toml")
    label = LabelColumn(column="num", classes=("a", "b", "c"))
    changed = dataclasses.replace(loaded, data=dataclasses.replace(loaded.data, label=label))
    with pytest.raises(CharterError, match="task causal-lm has two answers"):
        document.parse(document.encode(changed))
