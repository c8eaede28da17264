"""What noise carried out of its range is "no estimate" wherever people or programs read it."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import re

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fedethics.aggregates.aggregate import sum_sha256
from fedethics.charter_sums import layout_of
from fedethics.cli.output import Terminal
from fedethics.cli.release import show
from fedethics.coordinator.events import _row
from fedethics.fairness import Tables, aggregate, by_group, metric_names, overall, progress, roc
from fedethics.fairness.judge import Objective, judge
from fedethics.fairness.measured import TWO_CLASSES
from fedethics.fairness.metrics import find_metric
from fedethics.release import card, content, folder, gate
from fedethics.release.decision import decide
from fedethics.release.evidence import Progress
from fedethics.release.sections import rounds
from fedethics.release.sections.block import NO_ESTIMATE, estimate_cells
from fedethics.simulation.screen import _interval
from tests.release.conftest import lay_out


def pushed(stage, heart):
    """The evidence with histograms that noise has pushed beyond a perfect area."""
    layout = layout_of(stage.charter)
    shape = (layout.histogram_cells, 2, layout.bins)
    table = np.zeros(shape, dtype=np.int64)
    table[:, 0, :3], table[:, 1, -3:] = 12, 12
    # A negative count among the high negatives, as noise gives it, which the counts do not mend:
    # they say how many negatives are flagged, not where among the scores.
    table[:, 0, 32], table[:, 0, -1] = 9, -9
    histogram = tuple(map(int, table.reshape(-1)))
    assert len(histogram) == len(heart.histogram)
    whole = sum_sha256(heart.counts + histogram + heart.explanation)
    opened = tuple(
        dataclasses.replace(entry, sum_sha256=whole) if entry.kind == "fairness" else entry
        for entry in heart.rounds
    )
    return dataclasses.replace(heart, histogram=histogram, rounds=opened)


@pytest.fixture(scope="module")
def opened(stage, heart, tmp_path_factory):
    return folder.load(lay_out(tmp_path_factory.mktemp("pushed"), stage, pushed(stage, heart)))


def test_an_area_beyond_one_is_no_estimate_and_its_interval_stands(opened):
    found = overall(opened.tables, "roc_auc_score")
    assert found.cut and math.isnan(found.figure) and found.known
    assert 0.0 <= found.low < found.high == 1.0
    assert estimate_cells(found)[0] == NO_ESTIMATE and "to" in estimate_cells(found)[1]
    assert roc(opened.tables).auc.cut


def test_no_page_card_or_screen_prints_it_as_a_number(opened):
    verdict = gate.judge(opened)
    found = content.build(opened, verdict, decide(opened.charter, verdict.verdict, ()))
    (rule,) = [one for one in verdict.rules if one.name == "roc_auc_score"]
    assert rule.figure.value is None and rule.figure.high == 1.0
    assert "has no estimate" in rule.sentence and "1.000 (" not in rule.sentence
    out = io.StringIO()
    screen = Terminal(file=out)
    screen.width = 200
    show(verdict, screen)
    (line,) = [one for one in out.getvalue().splitlines() if " roc_auc_score" in one]
    assert "no estimate [" in line
    told = json.loads(content.report_json(found))
    rows = {row[0]: row for row in told["objectives"]["table"]["rows"]}
    assert rows["roc_auc_score"][1] == NO_ESTIMATE
    written = card.card_of(opened, found)
    front = yaml.safe_load(re.split(r"^---\n", written, maxsplit=2, flags=re.MULTILINE)[1])
    assert "roc_auc_score" not in front["metrics"]
    for name in ("roc_auc_score", "AUC"):
        assert not re.search(rf"{name}[^\n]{{0,12}}\b[01]\.000?\b(?! to)", written)


def test_a_program_reads_only_what_is_known_and_decided_and_with_its_interval(opened):
    verdict = gate.judge(opened)
    undecided = {rule.name for rule in verdict.rules if rule.verdict == "cannot conclude"}
    found = content.build(opened, verdict, decide(opened.charter, verdict.verdict, ()))
    front = re.split(r"^---\n", card.card_of(opened, found), maxsplit=2, flags=re.MULTILINE)[1]
    (model,) = yaml.safe_load(front)["model-index"]
    for result in model["results"][0]["metrics"]:
        assert result["type"] not in undecided
        assert result["args"]["interval-low"] <= result["value"] <= result["args"]["interval-high"]


@given(st.lists(st.integers(-9, 30), min_size=24, max_size=24), st.integers(0, 2**31))
def test_no_rate_and_no_gap_shows_a_value_that_was_cut(stage, counts, seed):
    """Whatever noise made of the counts: a figure is shown only if no count of it was negative."""
    layout = layout_of(stage.charter)
    noisy = np.random.default_rng(seed).integers(-3, 9, layout.length - layout.counts_length)
    tables = Tables.from_vector(
        np.concatenate([np.resize(counts, layout.counts_length), noisy]).astype(np.int64),
        layout=layout,
        counts_variance=9.0,
        histogram_variance=4.0,
        effects_variance=4.0 if layout.explained.length else 0.0,
        flips_variance=4.0 if layout.explained.length else 0.0,
        sites=4,
    )
    tpr = by_group(tables, "true_positive_rate", feature="sex", minimum_cell=0)
    cells = tables.counts.reshape(2, -1, 2, 2).sum(axis=1)
    for cell, group in zip(cells, tpr.values(), strict=True):
        assert group.estimate.cut == bool((cell[1] < 0).any())
        assert math.isnan(group.estimate.figure) or not (cell[1] < 0).any()
    gap = aggregate(tables, "equal_opportunity_difference", feature="sex", minimum_cell=0)
    if any(group.estimate.cut for group in tpr.values()) and gap.known:
        assert gap.cut and math.isnan(gap.figure)
    if gap.known and "highest for" in gap.note:
        lowest, highest = re.findall(r"(?:lowest|highest) for (\w+)", gap.note)[:2]
        assert lowest != highest


def test_advice_is_not_extrapolated_from_what_was_cut(opened):
    found = judge(
        opened.tables,
        Objective(
            metric="roc_auc_score", feature=None, bar=0.99, direction="at-least", confidence=0.95
        ),
    )
    assert found.outcome == "cannot conclude"
    assert found.remedy == ""


def test_a_round_without_an_estimate_is_null_to_programs_and_words_to_people():

    row = _row(Progress(round=1, counts=(50, 10, -5, 35), variance=25.0), TWO_CLASSES)
    assert row["true-positive-rate"]["value"] is None
    json.dumps(row, allow_nan=False)
    assert _interval(row["true-positive-rate"]).startswith("no estimate (95 % interval 0.7")
    assert progress(np.array([50, 10, -5, 35]), variance=25.0).tpr.cut


def test_every_metric_that_noise_can_cut_says_so(stage):
    """All metrics, on tables whose every count is negative: none shows an end as known."""
    layout = layout_of(stage.charter)
    tables = Tables.from_vector(
        np.full(layout.length, -4, dtype=np.int64),
        layout=layout,
        counts_variance=9.0,
        histogram_variance=4.0,
        effects_variance=4.0 if layout.explained.length else 0.0,
        flips_variance=4.0 if layout.explained.length else 0.0,
        sites=4,
    )
    for name in metric_names():
        if find_metric(name).kind == "rate" and not find_metric(name).swapped:
            found = overall(tables, name)
            assert math.isnan(found.figure), name


def test_the_rounds_chart_ends_with_the_round_that_is_released(opened):
    drawn = rounds.metrics(opened)
    last = opened.charter.training.rounds
    rows = [row for row in drawn.table.rows if row[0] == f"round {last}"]
    assert len(rows) == 3
    accuracy = overall(opened.tables, "accuracy_score")
    assert rows[0][2:] == estimate_cells(accuracy)
    assert f">{last}<" in str(drawn.drawing)
