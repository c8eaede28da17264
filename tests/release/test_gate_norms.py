"""The count of gradient norms in gate, report and card: advice, which can be missing or stray."""

from __future__ import annotations

import dataclasses

import pytest

from fedethics.aggregates.norms.gate import NAME
from fedethics.charter.norm_terms import NormTerms
from fedethics.release import card, content, folder, gate
from fedethics.release.decision import decide
from fedethics.release.evidence import Counted
from tests.release.conftest import lay_out


@pytest.fixture(scope="module")
def asked(stage):
    return stage.with_charter(norms=NormTerms(epsilon=0.2))


COUNTS = (160, 20, 8, 2, 0, 0, 0, 0)


def opened_with(asked, where, counted):
    evidence = dataclasses.replace(asked.evidence(), counted=counted)
    return folder.load(lay_out(where, asked, evidence))


def test_gate_report_and_card_say_what_was_counted_and_it_is_no_pass(asked, tmp_path):
    opened = opened_with(asked, tmp_path, (Counted(kind="norms", round=1, counts=COUNTS),))
    verdict = gate.judge(opened)
    rule = next(rule for rule in verdict.rules if rule.name == NAME)
    assert (rule.verdict, rule.topic) == ("not informative", "privacy")
    assert "longer than the clipping norm" in rule.sentence and "advice" in rule.sentence
    found = content.build(opened, verdict, decide(opened.charter, verdict.verdict, ()))
    section = found.sums["norms"]
    (table,) = section.tables.values()
    assert [row[1] for row in table.rows] == [str(count) for count in COUNTS]
    assert section.words in card.card_of(opened, found)


def test_a_count_that_is_missing_is_undecided_and_one_not_asked_for_fails(asked, stage, tmp_path):
    missing = gate.judge(opened_with(asked, tmp_path / "a", ()))
    assert next(r for r in missing.rules if r.name == NAME).verdict == "cannot conclude"
    found = stage.evidence()
    stray = dataclasses.replace(found.rounds[0], kind="norms")
    opened = folder.load(lay_out(tmp_path / "b", stage, found))
    opened = dataclasses.replace(
        opened, evidence=dataclasses.replace(found, rounds=(*found.rounds, stray))
    )
    rules = {rule.name: rule for rule in gate.judge(opened).rules}
    assert rules[NAME].verdict == "fail"
