"""What a charter may ask to have explained, and what is refused by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fedethics.charter.document import load
from fedethics.charter_sums import layout_of
from fedethics.errors import CharterError

CONFIGS = Path(__file__).parents[2] / "configs"
HEART = (CONFIGS / "heart.charter.toml").read_text(encoding="utf-8")
BEFORE = "[[ethics.objectives]]\n"


def charter_with(tmp_path, table: str, *, text: str = HEART, objective: str = ""):
    without = re.sub(r"\[ethics\.explanation\]\n(?:.+\n)*", "", text)
    head, _, tail = without.partition(BEFORE)
    path = tmp_path / "charter.toml"
    path.write_text(f"{head}\n[ethics.explanation]\n{table}\n{objective}\n{BEFORE}{tail}", "utf-8")
    return load(path)


def test_all_told_columns_are_those_of_the_text_in_its_order(tmp_path):
    charter = charter_with(tmp_path, 'columns = ["*"]\nby = "sex"\nswap = ["sex"]')
    explained = layout_of(charter).explained
    assert explained.columns == ("age", "sex", "cp", "exang", "oldpeak", "thalch", "chol")
    assert (explained.groups, explained.changes) == (2, 8)
    assert charter.ethics.explanation.changes(charter.data) == explained.changes


def test_named_columns_keep_the_order_of_the_text(tmp_path):
    charter = charter_with(tmp_path, 'columns = ["chol", "cp"]')
    assert layout_of(charter).explained.columns == ("cp", "chol")


def test_nothing_is_explained_unless_asked(tmp_path):
    charter = charter_with(tmp_path, "columns = []")
    layout = layout_of(charter)
    assert not charter.ethics.explanation.asked
    assert layout.length == layout.tables_length


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ('columns = ["trestbps"]', "'trestbps' is not in the text"),
        ('columns = ["weight"]', "'weight' is not in the text"),
        ('columns = ["*", "cp"]', "must be the only entry"),
        ('columns = ["cp", "cp"]', "a name is listed twice"),
        ('by = "sex"', "no column is left out"),
        ('columns = ["*"]\nby = "race"', "'race' is not a sensitive feature"),
        ('swap = ["race"]', "'race' is not a sensitive feature"),
        ('swap = ["age_band"]', "which is not a category; only a word can be swapped"),
        ("columns = ['cp']\nlargest-change = 0.0", "at least 0.001"),
        ("columns = ['cp']\neffect-ratio = 17", "at most 16"),
    ],
)
def test_what_the_data_cannot_answer_is_refused_by_name(tmp_path, table, why):
    with pytest.raises(CharterError, match=why):
        charter_with(tmp_path, table)


def test_a_feature_that_the_text_does_not_tell_cannot_be_swapped(tmp_path):
    silent = HEART.replace(
        'phrase = "{value}"\nvalues = ["Female=woman"', 'values = ["Female=woman"'
    )
    with pytest.raises(CharterError, match="would change nothing"):
        charter_with(tmp_path, 'swap = ["sex"]', text=silent)


def test_a_group_that_no_value_names_cannot_be_swapped(tmp_path):
    third = HEART.replace('groups = ["Female", "Male"]', 'groups = ["Female", "Male", "diverse"]')
    with pytest.raises(CharterError, match="without one: diverse"):
        charter_with(tmp_path, 'swap = ["sex"]', text=third)


def test_free_text_that_is_all_there_is_cannot_be_left_out(tmp_path):
    reddit = (CONFIGS / "redditbias.charter.toml").read_text(encoding="utf-8")
    with pytest.raises(CharterError, match="there is no text to judge"):
        charter_with(tmp_path, 'columns = ["*"]', text=reddit)


def test_a_text_column_among_others_is_left_out_as_a_whole(tmp_path):
    adult = (CONFIGS / "adult.charter.toml").read_text(encoding="utf-8")
    charter = charter_with(tmp_path, 'columns = ["occupation"]', text=adult)
    assert layout_of(charter).explained.columns == ("occupation",)


OBJECTIVE = """
[[ethics.objectives]]
metric = "counterfactual_flip_rate"
feature = "{feature}"
bar = {bar}
direction = "{direction}"
why = "A word must not decide."
"""


def test_an_objective_may_name_the_flip_rate_of_a_swapped_feature(tmp_path):
    objective = OBJECTIVE.format(feature="sex", bar=0.05, direction="at-most")
    charter = charter_with(tmp_path, 'swap = ["sex"]', objective=objective)
    assert charter.ethics.objectives[0].needs_swap


def test_a_change_of_score_that_is_cut_cannot_be_an_objective(tmp_path):
    objective = OBJECTIVE.format(feature="sex", bar=0.06, direction="at-most")
    objective = objective.replace("counterfactual_flip_rate", "counterfactual_score_shift")
    cut = 'swap = ["sex"]\nlargest-change = 0.05'
    with pytest.raises(CharterError, match="changes that are cut at"):
        charter_with(tmp_path, cut, objective=objective)
    charter_with(tmp_path, 'swap = ["sex"]\nlargest-change = 1.0', objective=objective)


@pytest.mark.parametrize(
    ("feature", "bar", "direction", "why"),
    [
        ("age_band", 0.05, "at-most", r"ethics\.explanation\.swap does not list"),
        ("", 0.05, "at-most", "needs a sensitive feature"),
        ("sex", 0.05, "at-least", "can only be asked to be at-most"),
        ("sex", 1.5, "at-most", "outside its range"),
    ],
)
def test_an_objective_that_could_never_be_judged_is_refused(tmp_path, feature, bar, direction, why):
    objective = OBJECTIVE.format(feature=feature, bar=bar, direction=direction)
    with pytest.raises(CharterError, match=why):
        charter_with(tmp_path, 'swap = ["sex"]', objective=objective)
