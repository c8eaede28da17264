"""A federation learns a task that no product file knows of: sums, ledger, gate, report as ever."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from fedethics import charter_sums
from fedethics.charter import document
from fedethics.charter.ethics_terms import Objective
from fedethics.fairness import overall
from fedethics.release import folder
from fedethics.release.gate import judge
from tests.learning_tasks import three_levels

pytestmark = pytest.mark.slow


def three_level_charter(charter):
    objectives = (
        Objective(
            metric="severe_missed_for_none_difference", feature="sex", bar=0.5,
            direction="at-most", why="Severe disease must not be taken for none in one sex.",
        ),
        Objective(
            metric="mean_sureness", bar=0.1, direction="at-least", why="Better than guessing.",
        ),
    )  # fmt: skip
    return dataclasses.replace(
        charter,
        model=dataclasses.replace(charter.model, task=three_levels.THREE_LEVELS.name),
        ethics=dataclasses.replace(charter.ethics, objectives=objectives),
        privacy=dataclasses.replace(
            charter.privacy,
            evaluation=dataclasses.replace(charter.privacy.evaluation, progress_every=1),
        ),
    )


def test_three_levels_are_trained_with_dp_measured_and_judged_by_four_hospitals(lab):
    run = lab.run(lab.stage(change=three_level_charter))
    opened = folder.load(run)
    charter = document.load(run / "charter.json")
    layout = charter_sums.layout_of(charter)
    assert opened.tables.counts.shape == (layout.num_cells, 3, 3)
    assert opened.tables.histogram.shape == (layout.histogram_cells, 1, layout.bins)
    assert [len(entry.counts) for entry in opened.evidence.progress] == [9]
    assert np.isfinite(overall(opened.tables, "accuracy_score").value)
    names = {rule.name for rule in judge(opened).rules}
    assert any("severe missed" in name or "severe_missed" in name for name in names)
    rows = (run / "metrics.jsonl").read_text().splitlines()
    assert json.loads(rows[0])["true-positive-rate"]["value"] is None
