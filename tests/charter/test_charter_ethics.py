"""The charter's ethics: what is refused, all at once, and what a template and a diff say."""

from __future__ import annotations

import dataclasses
import re

import pytest

from fedethics.charter import document
from fedethics.charter.differences import differences
from fedethics.charter.document import INDUSTRIES, charter_text, unfilled
from fedethics.errors import CharterError


@pytest.fixture
def load(tmp_path):
    def _load(text):
        path = tmp_path / "charter.toml"
        path.write_text(text, encoding="utf-8")
        return document.load(path)

    return _load


@pytest.fixture
def heart(root):
    return document.load(root / "configs" / "heart.charter.toml")


@pytest.mark.parametrize("industry", INDUSTRIES)
def test_every_quoted_word_in_capitals_is_found_until_it_is_filled_in(load, industry):
    text = charter_text(industry)
    values = re.findall(r'"([^"]*)"', re.sub(r"#.*", "", text))
    capitals = [value for value in values if re.search(r"\b[A-Z]{4,}\b", value)]
    assert capitals
    found = [place.partition(": ")[2] for place in unfilled(load(text))]
    assert sorted(found) == sorted(map(repr, capitals))


@pytest.mark.parametrize("industry", INDUSTRIES)
def test_every_template_is_a_valid_draft_with_people_floors_and_gaps(load, industry):
    charter = load(charter_text(industry))
    assert charter.charter.industry == industry
    assert charter.ethics.stakeholders and charter.ethics.approval_by
    floors = [one for one in charter.ethics.objectives if not one.feature]
    assert floors and len(floors) < len(charter.ethics.objectives)


@pytest.mark.parametrize("industry", ["finance", "hiring"])
def test_thresholds_by_group_are_refused_where_the_decision_would_depend_on_the_group(
    load, industry
):
    text = charter_text(industry).replace('"group-dro"]', '"group-dro", "thresholds"]')
    with pytest.raises(CharterError) as caught:
        load(text)
    assert "own rule, not legal advice" in str(caught.value)
    assert "at decision time" in str(caught.value)


def test_thresholds_by_group_may_be_agreed_to_in_healthcare(load):
    text = charter_text("healthcare").replace('"group-dro"]', '"group-dro", "thresholds"]')
    assert "thresholds" in load(text).ethics.allowed_mitigation


def test_an_unknown_metric_is_told_together_with_type_errors_beside_it(load, heart_text):
    bad = heart_text.replace(
        'metric = "roc_auc_score"\nbar = 0.75', 'metric = "roc_auc"\nbar = "high"'
    ).replace("delta = 1e-4", "delta = 2.0")
    with pytest.raises(CharterError) as caught:
        load(bad)
    told = str(caught.value)
    assert "objectives[0].metric: 'roc_auc'" in told
    assert "objectives[0].bar: expected a number" in told
    assert "privacy.delta: must be below 1" in told


def test_what_spans_tables_is_told_although_another_table_is_wrong(load, heart_text):
    bad = heart_text.replace('feature = "sex"', 'feature = "shoe"', 1).replace("rounds = 5", "")
    with pytest.raises(CharterError) as caught:
        load(bad)
    assert "['shoe'] not among the sensitive features" in str(caught.value)
    assert "training.rounds: missing" in str(caught.value)


def test_an_approver_must_be_among_the_stakeholders(load):
    text = charter_text("finance").replace('approval-by = ["legal"]', 'approval-by = ["ethicist"]')
    with pytest.raises(CharterError, match="approval-by"):
        load(text)


def _changed(charter, **tables):
    changes = {
        table: dataclasses.replace(getattr(charter, table), **fields)
        for table, fields in tables.items()
    }
    return {
        change.key: change
        for change in differences(charter, dataclasses.replace(charter, **changes))
    }


def test_equal_charters_have_no_differences(heart):
    assert differences(heart, heart) == ()


def test_an_eased_bar_is_told_as_easier_in_either_direction(heart):
    first, _, third, *_ = heart.ethics.objectives
    moved = (dataclasses.replace(first, bar=0.6), dataclasses.replace(third, bar=0.3))
    found = _changed(heart, ethics={"objectives": (*moved, *heart.ethics.objectives[3:])})
    floor = found["ethics.objectives[roc_auc_score].bar"]
    gap = found["ethics.objectives[equal_opportunity_difference by sex].bar"]
    assert (floor.old, floor.new) == ("0.75", "0.6")
    assert floor.meaning.startswith("Easier") and gap.meaning.startswith("Easier")
    gone = found["ethics.objectives[accuracy_score]"]
    assert gone.new == "absent" and "need not satisfy this" in gone.meaning


def test_more_epsilon_is_told_as_less_protection_with_the_attackers_gain(heart):
    privacy = dataclasses.replace(heart.privacy.training, epsilon=1.0)
    weaker = dataclasses.replace(
        heart, privacy=dataclasses.replace(heart.privacy, training=privacy)
    )
    (change,) = differences(weaker, heart)
    assert change.key == "privacy.training.epsilon"
    # e**1 and e**3 times 1 in 100.
    assert "protected less" in change.meaning
    assert "20.1 %" in change.meaning and "2.72 %" in change.meaning


def test_a_smaller_cohort_and_a_lost_feature_are_told(heart):
    found = _changed(
        heart,
        secagg={"minimum_cohort": 4},
        data={"sensitive": heart.data.sensitive[:1]},
    )
    assert "among more sites" in found["secagg.minimum-cohort"].meaning
    assert "no longer measured" in found["data.sensitive[age_band]"].meaning


def test_the_order_of_named_items_is_no_difference_in_what_they_say(heart):
    turned = heart.ethics.objectives[::-1]
    assert _changed(heart, ethics={"objectives": turned}) == {}
