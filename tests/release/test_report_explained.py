"""The report says what the model looks at where the charter asks, and else is silent."""

from __future__ import annotations

import dataclasses
import json

import pytest

from fedethics.charter.ethics_terms import ExplanationTerms
from fedethics.fairness import aggregate, importance, importance_by_group
from fedethics.release import folder, gate
from fedethics.release.sections import explained
from fedethics.release.sections.block import estimate_cells

BY_SEX = ExplanationTerms(columns=("cp", "sex"), by="sex", swap=("sex",), largest_change=0.25)


def _asking(stage, terms):
    ethics = dataclasses.replace(stage.charter.ethics, explanation=terms)
    return stage.with_charter(ethics=ethics)


def _built(stage, lay, terms) -> tuple[folder.Folder, explained.WhatItLooksAt | None]:
    asking = _asking(stage, terms)
    opened = folder.load(lay(asking, asking.evidence()))
    return opened, explained.build(opened)


def test_every_figure_equals_the_estimate_from_the_sums(stage, lay):
    opened, found = _built(stage, lay, BY_SEX)
    assert found is not None and found.gaps is not None and found.shifts is not None
    columns, swap = found.blocks
    everyone = importance(opened.tables)
    groups = importance_by_group(opened.tables)
    shown = {(column, group): value for column, group, value, _ in columns.table.rows}
    for column, estimate in everyone.items():
        # Where noise cut the value, the table says so instead.
        assert shown[column, "Everyone"] == estimate_cells(estimate)[0]
        for group, one in groups[column].items():
            assert shown[column, group] == estimate_cells(one)[0]
    rate = aggregate(opened.tables, "counterfactual_flip_rate", feature="sex")
    assert swap.table.rows[0][:3] == ("Decision flips, of all", "Everyone", estimate_cells(rate)[0])
    values = [everyone[row[0]].value for row in columns.table.rows if row[1] == "Everyone"]
    assert values == sorted(values, reverse=True)
    assert "No flip does not show fair treatment" in swap.caption


def test_a_charter_that_asks_for_nothing_gets_no_such_section(stage, lay):
    asking = _asking(stage, ExplanationTerms())
    run = lay(asking, asking.evidence())
    opened = folder.load(run)
    assert explained.build(opened) is None
    assert opened.evidence.explanation == ()


def test_less_noise_than_planned_on_the_changes_is_found_out(stage, lay):
    asking = _asking(stage, BY_SEX)
    found = asking.evidence()
    for changes in (
        {"effects_variance": found.effects_variance / 2},
        {"flips_variance": found.flips_variance / 2},
        {"plan": dataclasses.replace(found.plan, flips_std=found.plan.flips_std / 2)},
    ):
        report = gate.examine(lay(asking, dataclasses.replace(found, **changes)))
        (rule,) = [rule for rule in report.rules if rule.name == "noise as planned"]
        assert rule.verdict == "fail"


def test_changed_sums_are_not_those_that_were_opened(stage, lay):
    asking = _asking(stage, BY_SEX)
    found = asking.evidence()
    forged = (found.explanation[0] + 640, *found.explanation[1:])
    report = gate.examine(lay(asking, dataclasses.replace(found, explanation=forged)))
    (rule,) = [one for one in report.rules if one.name == "figures from the opened sums"]
    assert rule.verdict == "fail"


def test_the_page_the_card_and_the_data_tell_the_same(published):
    page = (published / "report.html").read_text()
    told = json.loads((published / "report.json").read_text())["explained"]
    card = folder.located(published, folder.CARD).read_text()
    assert "What the model relies on" in page
    for block in told["blocks"]:
        assert f"### {block['title']}" in card
        for row in block["table"]["rows"]:
            assert row[2] in page and row[2] in card


@pytest.mark.parametrize("high", [0.05, 0.15, 0.3, 0.7, 1.0])
def test_the_axis_is_short_and_holds_every_interval(high):
    from fedethics.fairness import Estimate

    estimate = Estimate(value=0.01, low=0.0, high=high, confidence=0.95)
    top = explained._top({"x": {"Everyone": estimate}})
    assert high <= top <= max(2 * high, 0.1)
