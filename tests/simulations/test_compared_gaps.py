"""The gap in the comparisons is Fairlearn's on the pooled held-out records of all sites."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from fairlearn.metrics import MetricFrame, true_positive_rate

from fedethics.charter import document
from simulations.gaps import chosen_gap, pooled_gap


@pytest.fixture(scope="module")
def charter(root):
    return document.load(root / "configs" / "heart.charter.toml")


def test_it_is_the_first_difference_that_the_charter_bounds(charter):
    chosen = chosen_gap(charter)
    assert (chosen.metric, chosen.feature) == ("equal_opportunity_difference", "sex")


def test_it_equals_fairlearns_on_the_pooled_records(charter):
    rng = np.random.default_rng(5)
    records, scores = {}, {}
    for site in ("a", "b", "c"):
        groups = np.stack([rng.integers(0, 2, 200), rng.integers(0, 3, 200)], axis=1)
        labels = rng.integers(0, 2, 200).astype(np.int8)
        held = SimpleNamespace(groups=groups, labels=labels)
        records[site] = SimpleNamespace(held_out=held)
        scores[site] = np.clip(0.3 * labels + 0.2 * groups[:, 0] + rng.random(200) * 0.5, 0, 1)
    frame = MetricFrame(
        metrics=true_positive_rate,
        y_true=np.concatenate([one.held_out.labels for one in records.values()]),
        y_pred=np.concatenate(list(scores.values())) >= 0.5,
        sensitive_features=np.concatenate([one.held_out.groups[:, 0] for one in records.values()]),
    )
    assert pooled_gap(charter, records, scores) == pytest.approx(frame.difference(), abs=1e-12)


def test_without_such_an_objective_there_is_no_gap(charter):
    over_everyone = tuple(one for one in charter.ethics.objectives if not one.feature)
    floors = dataclasses.replace(charter.ethics, objectives=over_everyone)
    assert chosen_gap(dataclasses.replace(charter, ethics=floors)) is None
