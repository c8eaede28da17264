"""A charter of free text may have no sensitive features; every page says so, and why."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fedethics.charter import document
from fedethics.charter.data_terms import Column
from fedethics.errors import CharterError, FairnessError
from fedethics.fairness import Layout, Tables, overall, tabulate
from fedethics.fairness.tabulate import tabulate_explanation
from fedethics.release import card, content, folder, gate
from fedethics.release.decision import decide
from fedethics.release.publish import publish
from tests.release.conftest import lay_out

REASON = "the letters are of wards, and no column says anything of a person"


def without(charter, reason=REASON, **data):
    """Return the charter on free text and everyone alone."""
    terms = {
        "sensitive": (),
        "columns": (Column(name="letter", kind="text", phrase="{value}", max_chars=500),), **data,
    }  # fmt: skip
    evaluation = dataclasses.replace(charter.privacy.evaluation, histogram_by=())
    objectives = tuple(one for one in charter.ethics.objectives if not one.feature)
    return {
        "data": dataclasses.replace(charter.data, **terms),
        "privacy": dataclasses.replace(charter.privacy, evaluation=evaluation),
        "ethics": dataclasses.replace(
            charter.ethics, objectives=objectives, without_groups=reason,
            explanation=type(charter.ethics.explanation)(),
        ),
        "roster": tuple(dataclasses.replace(one, absent_groups=()) for one in charter.roster),
    }  # fmt: skip


@pytest.fixture(scope="module", params=["nested", "crossed"])
def opened(request, stage, tmp_path_factory):
    terms = without(stage.charter)
    evaluation = dataclasses.replace(terms["privacy"].evaluation, tables=request.param)
    terms["privacy"] = dataclasses.replace(terms["privacy"], evaluation=evaluation)
    found = stage.with_charter(**terms)
    run_dir = lay_out(tmp_path_factory.mktemp("run"), found, found.evidence())
    publish(run_dir, coordinator=found.coordinator)
    return folder.load(run_dir)


def test_the_charter_reads_back_as_it_was_written_and_others_keep_their_hash(stage):
    charter = dataclasses.replace(stage.charter, **without(stage.charter))
    assert document.parse(document.encode(charter)) == charter
    assert b"without-groups" not in document.encode(stage.charter)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reason": None}, "data.sensitive: missing; name the features whose groups are compared"),
        ({"reason": " "}, "ethics.without-groups: must not be empty"),
        ({"columns": "kept"}, "only free text may be without groups"),
        ({"sensitive": "kept", "columns": "kept"}, "the charter has sensitive features"),
    ],
)
def test_groups_are_never_left_out_silently(changes, said, stage):
    kept = {
        name: getattr(stage.charter.data, name)
        for name, value in changes.items()
        if value == "kept"
    }
    words = {**{name: value for name, value in changes.items() if value != "kept"}, **kept}
    charter = dataclasses.replace(stage.charter, **without(stage.charter, **words))
    with pytest.raises(CharterError) as refused:
        document.parse(document.encode(charter))
    assert said in str(refused.value)


def test_an_objective_by_group_is_refused_where_there_are_none(stage):
    terms = without(stage.charter)
    by_group = next(one for one in stage.charter.ethics.objectives if one.feature)
    terms["ethics"] = dataclasses.replace(terms["ethics"], objectives=(by_group,))
    charter = dataclasses.replace(stage.charter, **terms)
    with pytest.raises(CharterError, match="not among the sensitive features"):
        document.parse(document.encode(charter))


def test_the_gate_counts_the_missing_groups_as_no_pass_and_prints_the_reason(opened):
    report = gate.judge(opened)
    rule = next(rule for rule in report.rules if rule.name == "groups")
    assert (rule.verdict, rule.topic) == ("not informative", "people") and REASON in rule.sentence
    others = [one for one in report.rules if one is not rule]
    assert report.verdict == gate.overall(others)


def test_report_and_cards_say_that_nothing_was_measured_by_group_and_why(opened):
    report = gate.judge(opened)
    found = content.build(opened, report, decide(opened.charter, report.verdict, ()))
    said = "Nothing was measured by group"
    page = (opened.path / "report.html").read_text()
    assert said in page and REASON in page
    model_card = card.card_of(opened, found)
    assert said in model_card and REASON in model_card
    assert f"groups: {REASON}" in card.data_card_of(opened, found)


def test_tables_over_everyone_equal_a_count_by_hand_and_no_group_can_be_asked_for():
    layout = Layout(features=())
    labels, scores = [0, 1, 1, 0, 1], [0.1, 0.9, 0.2, 0.7, 0.8]
    table = tabulate(layout, groups=np.zeros((5, 0), int), labels=labels, scores=scores)
    assert table[:4].tolist() == [1, 1, 1, 2]
    tables = Tables.from_vector(
        table, layout=layout, counts_variance=0.0, histogram_variance=0.0, sites=3
    )
    assert overall(tables, "accuracy_score").value == pytest.approx(3 / 5)
    none = tabulate_explanation(
        layout, groups=np.zeros((5, 0), int), scores=np.array(scores), occluded={}, swapped={}
    )
    assert none.shape == (0,)
    with pytest.raises(FairnessError, match="the charter has none"):
        layout.feature("sex")
