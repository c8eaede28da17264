"""A rehearsal plays the count of annotators' labels too, and joining says what it asks."""

from __future__ import annotations

import csv

import pytest

from fedethics.enrolment.approval import approve
from fedethics.errors import PolicyRefusal, RecordsRefusal
from fedethics.site.rehearsal import rehearse
from fedethics.site.rehearsal_steps import STEPS
from tests.enrolment.a_day import Day, approved_day, everything

TERMS = """
[annotation]
annotators = ["first", "second"]
labels = ["0", "1"]
guideline = "Is a vessel narrowed?"
epsilon = 0.5
"""


@pytest.fixture
def day(tmp_path, root) -> Day:
    draft = (root / "configs" / "heart.charter.toml").read_text() + TERMS
    draft = draft.replace("rounds = 5", "rounds = 1").replace("local-steps = 4", "local-steps = 1")
    day = approved_day(tmp_path / "day")
    (day.coordinator / "draft.toml").write_text(draft)
    approve(day.coordinator, [])
    return day


def annotate(day: Day, cell: str) -> None:
    path = day.path / "patients.csv"
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    with path.open("w", newline="") as file:
        said = ([*row, cell, "1"] for row in rows)
        csv.writer(file).writerows([[*header, "first", "second"], *said])


@pytest.mark.slow
def test_a_site_that_allows_it_rehearses_it_and_is_told_what_it_asks(day):
    annotate(day, "0")
    day.edit_policy("alpha", '"fairness",', '"fairness", "agreement",')
    asked = {one.term: one.asked for one in day.join("alpha").asks}
    assert asked["agreement of annotators"].startswith("nominal alpha of 2 annotators")
    assert asked["columns of annotators"] == "first, second"
    site, told = day.home("alpha"), []
    before = everything(site.path)
    rehearse(site, on_step=lambda step, _seconds: told.append(step))
    assert tuple(told) == STEPS and everything(site.path) == before


def test_a_site_that_does_not_list_it_or_whose_labels_are_others_computes_nothing(day):
    annotate(day, "unsure")
    day.join("alpha")
    with pytest.raises(PolicyRefusal, match="'agreement' releases"):
        rehearse(day.home("alpha"), on_step=lambda *_: None)
    day.edit_policy("alpha", '"fairness",', '"fairness", "agreement",')
    with pytest.raises(RecordsRefusal, match=r"line 2, column first: not one of 0, 1") as caught:
        rehearse(day.home("alpha"), on_step=lambda *_: None)
    assert "unsure" not in str(caught.value)
