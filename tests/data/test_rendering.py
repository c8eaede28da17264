"""Records told otherwise: a phrase left out, a word swapped, and models that must show it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from fedethics.charter.document import load
from fedethics.charter_sums import layout_of
from fedethics.data.reading import read_records
from fedethics.data.rendering import (
    occluded_scores,
    row_text,
    swapped,
    swapped_scores,
    text_columns,
    without,
)
from fedethics.fairness import Tables, aggregate, importance, tabulate, tabulate_explanation

HEART = Path(__file__).parents[2] / "configs" / "heart.charter.toml"
HEADER = "age,sex,cp,exang,oldpeak,thalch,chol,trestbps,fbs,restecg,num\n"
ROWS = (
    "63,Male,typical angina,FALSE,2.3,150,233,145,TRUE,normal,0\n"
    "41,Female,atypical angina,FALSE,1.4,172,204,130,FALSE,normal,1\n"
    "57,Female,asymptomatic,TRUE,0.6,163,0,120,FALSE,normal,0\n"
    "66,Male,asymptomatic,TRUE,1.2,151,254,120,FALSE,normal,2\n"
)


@pytest.fixture(scope="module")
def charter():
    return load(HEART)


@pytest.fixture
def records(tmp_path, charter):
    path = tmp_path / "records.csv"
    path.write_text(HEADER + ROWS * 10, encoding="utf-8")
    return read_records(path, charter.data)


def test_leaving_a_column_out_leaves_the_rest_as_it_was(records, charter):
    for row, text in zip(records.values, records.texts, strict=True):
        assert without(row, charter.data) == text
        phrases = text.split(", ")
        for place, column in enumerate(text_columns(charter.data)):
            left = phrases[:place] + phrases[place + 1 :]
            assert without(row, charter.data, column.name) == ", ".join(left)


def test_swapping_a_word_changes_that_word_and_nothing_else(records, charter):
    words = {"Female": "woman", "Male": "man"}
    for row, text, (sex, _) in zip(records.values, records.texts, records.groups, strict=True):
        own, other = ("Female", "Male") if sex == 0 else ("Male", "Female")
        told = swapped(row, charter.data, "sex", group=int(sex))
        assert told == {other: text.replace(f", {words[own]},", f", {words[other]},")}


def test_a_merged_group_is_spoken_for_by_its_first_declared_value(charter):
    sex = dataclasses.replace(
        charter.data.sensitive[0], groups=("Female", "other"), merge=("Male=other", "None=other")
    )
    data = dataclasses.replace(charter.data, sensitive=(sex, *charter.data.sensitive[1:]))
    row = {column.name: None for column in text_columns(data)} | {"sex": "Female"}
    assert ", man," in swapped(row, data, "sex", group=0)["other"]
    assert (
        row_text(row, text_columns(data))
        == swapped({**row, "sex": "Male"}, data, "sex", group=1)["Female"]
    )


def _explained(charter, records, score) -> Tables:
    ethics = dataclasses.replace(
        charter.ethics,
        explanation=dataclasses.replace(
            charter.ethics.explanation, columns=("*",), swap=("sex",), largest_change=1.0
        ),
    )
    layout = layout_of(dataclasses.replace(charter, ethics=ethics))
    scores, data = score(records.texts), charter.data
    changes = tabulate_explanation(
        layout,
        groups=records.groups,
        scores=scores,
        occluded={
            name: occluded_scores(score, records, data, scores, name)
            for name in layout.explained.columns
        },
        swapped={"sex": swapped_scores(score, records, data, scores, "sex")},
    )
    told = tabulate(layout, groups=records.groups, labels=records.labels, scores=scores)
    return Tables.from_vector(
        np.concatenate([told, changes]),
        layout=layout,
        counts_variance=0.0,
        histogram_variance=0.0,
        sites=4,
    )


def test_a_model_that_looks_at_one_column_only_leans_on_no_other(records, charter):
    def score(texts):
        return np.array([0.9 if "asymptomatic" in text else 0.1 for text in texts])

    tables = _explained(charter, records, score)
    found = {name: one.value for name, one in importance(tables).items()}
    # Half of the people are asymptomatic; only their score changes.
    assert found.pop("cp") == pytest.approx(0.5 * 0.8, abs=1 / 64)
    assert set(found.values()) == {0.0}
    assert aggregate(tables, "counterfactual_flip_rate", feature="sex").value == 0.0


def test_a_model_that_decides_by_the_word_for_sex_flips_always(records, charter):
    def score(texts):
        return np.array([0.8 if "man" in text and "woman" not in text else 0.3 for text in texts])

    tables = _explained(charter, records, score)
    for metric, expected in {
        "counterfactual_flip_rate": 1.0,
        "counterfactual_score_shift": 0.5,
        "flip_to_positive_rate_group_max": 1.0,
        "flip_to_negative_rate_group_max": 1.0,
    }.items():
        assert aggregate(tables, metric, feature="sex").value == expected
    assert importance(tables)["age"].value == 0.0


def test_a_text_that_a_swap_does_not_change_keeps_its_score_and_takes_as_long(records, charter):
    data = dataclasses.replace(
        charter.data,
        columns=tuple(
            dataclasses.replace(column, values=("Female=person", "Male=person"))
            if column.name == "sex"
            else column
            for column in charter.data.columns
        ),
    )
    told = tuple(row_text(row, text_columns(data)) for row in records.values)
    part, scores = dataclasses.replace(records, texts=told), np.full(len(records), 0.4)

    sizes = []

    def score(texts):
        sizes.append(len(texts))
        return np.full(len(texts), 0.7)

    assert (swapped_scores(score, part, data, scores, "sex") == 0.4).all()
    assert (swapped_scores(score, records, charter.data, scores, "sex") == 0.7).all()
    assert sizes == [len(records)] * 2
    none = dataclasses.replace(records, texts=(), values=(), groups=records.groups[:0])
    assert swapped_scores(lambda _: np.zeros(0), none, data, scores[:0], "sex").shape == (0, 1)
