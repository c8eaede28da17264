"""Multiple choice: a question that has no right answer, or two, is an error of its line."""

from __future__ import annotations

import csv

import pytest

from fedethics.charter.data_terms import Column, DataTerms, LabelColumn, SensitiveColumn
from fedethics.data.reading import read_records
from fedethics.errors import DataError

OPTIONS = ("one", "two", "three")
TERMS = DataTerms(
    source="made up",
    holdout_fraction=0.5,
    split_salt="salt/1",
    label=LabelColumn(column="right", classes=("A", "B", "C"), options=OPTIONS),
    columns=(
        Column(name="question", kind="text", phrase="{value}", max_chars=50),
        *(
            Column(name=one, kind="text", phrase=f"{letter}: {{value}}", max_chars=50,
                   on_empty="say")
            for one, letter in zip(OPTIONS, "ABC", strict=True)
        ),
        Column(name="sex", kind="category", values=("F", "M")),
    ),
    sensitive=(SensitiveColumn(name="sex", column="sex", groups=("F", "M")),),
)  # fmt: skip


@pytest.fixture
def read(tmp_path):
    def build(*rows):
        path = tmp_path / "d.csv"
        with path.open("w", newline="") as file:
            out = csv.writer(file)
            out.writerow(["question", *OPTIONS, "sex", "right"])
            out.writerows(rows)
        return read_records(path, TERMS, task="choice")

    return build


def test_a_records_own_options_are_read_under_their_names(read):
    found = read(["what", "iron", "salt", "zinc", "F", "B"], ["why", "x", "", "y", "M", "C"])
    assert found.labels.tolist() == [1, 2]
    assert found.texts[0] == "what, A: iron, B: salt, C: zinc"
    assert found.texts[1] == "why, A: x, B: not recorded, C: y"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (["what", "iron", "", "zinc", "F", "B"], "names an option that is empty"),
        (["what", "iron", "", "", "F", "A"], "one option only; a choice needs two"),
        (["what", "iron", "iron", "zinc", "F", "C"], "two options are the same"),
        (["what", "iron", "salt", "zinc", "F", "D"], "unknown label; allowed: A, B, C"),
        (["what", "iron", "salt", "zinc", "F", "a"], "only in small and capital letters"),
        (["what", "iron", "salt", "zinc", "F", ""], "unknown label"),
    ],
)
def test_a_question_without_one_right_answer_is_an_error_that_shows_no_value(read, row, said):
    with pytest.raises(DataError) as refused:
        read(["what", "x", "y", "z", "M", "A"], row)
    assert "line 3, column right: " in str(refused.value)
    assert said in str(refused.value)
    assert "iron" not in str(refused.value)
