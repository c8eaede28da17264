"""A release for people who are not in the data cannot pass, where the charter sets a bar."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from fedethics.aggregates.aggregate import sum_sha256
from fedethics.aggregates.census import CENSUS
from fedethics.aggregates.census.gate import ALIKE, ENOUGH, missed_bars
from fedethics.aggregates.census.layout import layout_of_census
from fedethics.charter.census_terms import CensusTerms, CensusWords, ReferenceTerms
from fedethics.privacy.ledger.receipt import SumSeen
from fedethics.privacy.plan import make_plan
from fedethics.release import folder, gate
from fedethics.release.evidence import Counted, OpenedSum
from fedethics.release.publish import publish
from fedethics.secagg.rules import sites_hash
from tests.release.conftest import SITES, adapter_sha256, session_of

HALF = ReferenceTerms(feature="sex", shares=("Female=0.5", "Male=0.5"), source="Office of people")


def counting(stage, **changes):
    """A stage whose charter asks for a census, as precise as an epsilon of 2 buys."""
    return stage.with_charter(census=CensusTerms(**({"epsilon": 2.0, "by": "sex"} | changes)))


def opened(stage, women, men, *, seed=5, honest=True):
    """Evidence in which a census was opened, with the noise of the plan.

    Each group of people is half of either label; age bands are of equal size.
    """
    layout = layout_of_census(stage.charter)
    blocks = {key: np.zeros(shape) for key, shape in layout.shapes.items()}
    blocks["groups", "sex"][:] = np.array([[women], [men]]) / 2
    bands = blocks["groups", "age_band"]
    bands[:] = (women + men) / bands.size
    if layout.words:
        blocks["words", ""][:] = [[women * 0.9, men * 0.1]]
    flat = np.concatenate([blocks[key].ravel() for key in layout.shapes])
    std = CENSUS.of(make_plan(stage.charter).sums).noise.sum_std
    noise = np.random.default_rng(seed).normal(0, std, flat.size)
    noised = tuple(int(one) for one in np.rint(flat + noise))
    entry = OpenedSum(
        round=1,
        kind="census",
        session=session_of("census", 1),
        cohort=SITES,
        survivors=SITES,
        sum_sha256=sum_sha256(noised),
    )
    found = stage.evidence()
    rounds = (entry, *found.rounds)
    receipts = tuple(
        stage.receipt(site, sums=tuple(_seen(stage, each) for each in rounds)) for site in SITES
    )
    shown = noised if honest else (*noised[:-1], noised[-1] + 1000)
    return dataclasses.replace(
        found,
        rounds=rounds,
        receipts=receipts,
        counted=(Counted(kind="census", round=1, counts=shown),),
    )


def _seen(stage, entry):
    return SumSeen(
        kind=entry.kind,
        round=entry.round,
        session=entry.session,
        cohort=sites_hash(entry.cohort),
        survivors=sites_hash(entry.survivors),
        sha256=entry.sum_sha256,
        slices="passed",
        adapter=None if entry.kind == "update" else adapter_sha256(stage.charter),
    )


def rules(run):
    return {rule.name: rule for rule in gate.examine(run).rules}


def test_groups_that_are_there_pass_with_the_smallest_one_shown(stage, lay):
    asking = counting(stage, minimum=2000, reference=(HALF,), largest_difference=0.1)
    found = rules(lay(asking, opened(asking, 8000, 8000)))
    enough, alike = found[ENOUGH], found[ALIKE]
    assert (enough.verdict, alike.verdict) == ("pass", "pass") and enough.topic == "people"
    assert enough.figure.bar == 2000 and enough.figure.low > 2000
    assert enough.figure.direction == "at-least"
    assert "Each of 5 groups has at least 2000" in enough.sentence
    assert 0.4 <= alike.figure.low < alike.figure.high <= 0.6


def test_a_group_that_is_missing_fails_the_gate_by_name_whatever_the_model_does(stage, lay):
    asking = counting(stage, minimum=2000, reference=(HALF,), largest_difference=0.1)
    whole = opened(asking, 100, 12000)
    found = rules(lay(asking, whole))
    assert found[ENOUGH].verdict == found[ALIKE].verdict == "fail"
    assert "records of sex=Female; the charter asks for at least 2000" in found[ENOUGH].sentence
    assert "the reference population it is 0.500" in found[ALIKE].sentence
    assert gate.examine(lay(asking, whole)).verdict == "fail"
    missed = missed_bars(asking.charter, whole.counted)
    assert len(missed) == 3 and sum("sex=Female" in one for one in missed) == 2


def test_a_bar_within_the_interval_leaves_it_undecided(stage, lay):
    asking = counting(stage, minimum=2000, epsilon=0.05)
    whole = opened(asking, 2000, 12000)
    rule = rules(lay(asking, whole))[ENOUGH]
    assert rule.verdict == "cannot conclude" and "stays open" in rule.sentence
    assert missed_bars(asking.charter, whole.counted) == ()


def test_without_a_bar_the_census_is_shown_and_is_no_pass(stage, lay):
    barless = counting(stage)
    found = rules(lay(barless, opened(barless, 100, 8000)))
    assert found[ENOUGH].verdict == "not informative" and ALIKE not in found
    assert "sets no least number" in found[ENOUGH].sentence


def test_a_census_that_is_asked_for_and_missing_leaves_the_gate_undecided(stage, lay):
    asking = counting(stage, minimum=10)
    missing = dataclasses.replace(opened(asking, 800, 800), counted=None)
    rule = rules(lay(asking, missing))[ENOUGH]
    assert rule.verdict == "cannot conclude" and "no such sum is on record" in rule.sentence


def test_a_census_that_nobody_agreed_to_fails(stage, lay):
    whole = opened(counting(stage), 800, 800)
    stray = dataclasses.replace(stage.evidence(), rounds=whole.rounds)
    rule = rules(lay(stage, stray))[ENOUGH]
    assert rule.verdict == "fail" and "does not ask for" in rule.sentence


def test_counts_other_than_the_opened_sum_are_found_out(stage, lay):
    asking = counting(stage)
    told = rules(lay(asking, opened(asking, 800, 800, honest=False)))[
        "figures from the opened sums"
    ]
    assert told.verdict == "fail" and "census counts of round 1 are not" in told.sentence


@pytest.mark.slow
def test_every_page_and_the_data_card_show_who_is_there_and_the_labels_beside_the_model(stage, lay):
    words = CensusWords(words=("nurse",))
    asking = counting(stage, minimum=2000, reference=(HALF,), vocabulary=words)
    run = lay(asking, opened(asking, 8000, 8000))
    publish(run, asking.coordinator)
    for page in (folder.REPORT, folder.REPORT_PRIVACY, folder.REPORT_REGULATOR, folder.DATA_CARD):
        text = (run / page).read_text()
        assert "Who is in the data" in text and "nurse" in text
    shown = json.loads((run / folder.REPORT_JSON).read_text())["census"]["tables"]
    groups = shown["Census: records by sex"]
    assert groups["head"][:2] == ["Group", "Records"] and groups["rows"][0][0] == "Female"
    assert groups["rows"][0][5] == "0.500" and groups["rows"][0][6].startswith(("+0.0", "-0.0"))
    beside = shown["Labels of records by sex, beside what the model decides"]["rows"]
    assert [row[0] for row in beside] == ["Female", "Male"]
    assert beside[0][2].startswith("0.") and beside[0][4] != "\N{EN DASH}"
    (word,) = shown["Words that go with sex"]["rows"]
    assert word[:2] == ["nurse", "Female"] and word[-1] == "yes" and float(word[2]) > 2
    assert "census: records by sex, age_band and label" in (run / folder.REPORT_PRIVACY).read_text()


def test_the_data_card_answers_whom_the_records_represent_only_where_a_census_says_it(stage, lay):
    unanswered = "whether the records represent the people"
    asking = counting(stage, reference=(HALF,))
    run = lay(asking, opened(asking, 8000, 8000))
    publish(run, asking.coordinator)
    card = (run / folder.DATA_CARD).read_text()
    assert unanswered not in card and "Office of people" in card
    assert card.index("## Who is in the data") < card.index("## Collection and labels")
    bare = lay(stage, stage.evidence())
    publish(bare, stage.coordinator)
    card = (bare / folder.DATA_CARD).read_text()
    assert unanswered in card and "## Who is in the data" not in card
