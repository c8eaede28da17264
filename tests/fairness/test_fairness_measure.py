"""Answers are the same everywhere, quick, need no torch, and unknown questions are refused."""

import subprocess
import sys
import time

import numpy as np
import pytest

from fedethics.errors import FairnessError
from fedethics.fairness import (
    Layout,
    SensitiveFeature,
    Tables,
    aggregate,
    by_group,
    find_metric,
    metric_names,
    overall,
    progress,
    roc,
)

LAYOUT = Layout(
    features=(
        SensitiveFeature(name="sex", groups=("F", "M")),
        SensitiveFeature(name="race", groups=("a", "b", "c", "d", "e")),
    ),
    bins=256,
)


def opened():
    rng = np.random.default_rng(11)
    vector = rng.poisson(40, LAYOUT.length) + rng.poisson(1, LAYOUT.length) - 1
    return Tables.from_vector(
        vector, layout=LAYOUT, counts_variance=2.0, histogram_variance=4.0, sites=4
    )


def everything(tables):
    answers = [overall(tables, name) for name in metric_names("rate")]
    for feature in ("sex", "race", "sex*race"):
        answers += [by_group(tables, name, feature=feature) for name in metric_names("rate")]
        answers += [aggregate(tables, name, feature=feature) for name in metric_names("aggregate")]
    curve = roc(tables, feature="sex", group="F")
    return repr([*answers, curve.fpr.tobytes(), curve.tpr.tobytes(), curve.auc])


def test_every_answer_is_the_same_again_and_all_come_within_two_seconds():
    first, before = everything(opened()), time.process_time()
    assert everything(opened()) == first
    assert time.process_time() - before < 2.0


def test_every_interval_holds_its_value_and_stays_in_range():
    tables = opened()
    for name in metric_names("rate"):
        groups = by_group(tables, name, feature="sex*race").values()
        answers = [group.estimate for group in groups]
        if name not in ("bpsn_auc", "bnsp_auc"):  # everyone has no background
            answers.append(overall(tables, name))
        for estimate in answers:
            assert 0 <= estimate.low <= estimate.value <= estimate.high <= find_metric(name).high
    for name in metric_names("aggregate"):
        gap = aggregate(tables, name, feature="sex*race")
        assert 0 <= gap.low <= gap.value <= gap.high <= find_metric(name).high


def test_more_confidence_is_a_wider_interval():
    tables = opened()
    for name in metric_names("aggregate"):
        narrow, wide = (aggregate(tables, name, feature="race", confidence=c) for c in (0.8, 0.99))
        assert wide.low <= narrow.low and narrow.high <= wide.high
        assert wide != narrow


@pytest.mark.parametrize(
    "ask",
    [
        lambda t: overall(t, "selection_rate_difference"),
        lambda t: overall(t, "auc"),
        lambda t: by_group(t, "four_fifths", feature="sex"),
        lambda t: aggregate(t, "selection_rate", feature="sex"),
        lambda t: aggregate(t, "log_loss_group_max", feature="sex"),
        lambda t: aggregate(t, "four_fifths", feature="sex", confidence=0.2),
    ],
)
def test_a_question_that_does_not_fit_is_refused(ask):
    with pytest.raises(FairnessError):
        ask(opened())


def test_an_unknown_metric_is_answered_with_those_that_exist():
    with pytest.raises(FairnessError) as caught:
        overall(opened(), "auc")
    assert "roc_auc_score" in str(caught.value)


def test_progress_is_the_rates_of_the_pooled_counts():
    got = progress(np.array([50, 10, 5, 35]), variance=0.0)
    assert (got.accuracy.value, got.tpr.value, got.fpr.value) == (0.85, 35 / 40, 10 / 60)
    assert (got.n.value, got.n.low, got.n.high) == (100.0, 100.0, 100.0)
    noisy = progress(np.array([50, 10, -5, 35]), variance=25.0)
    assert noisy.tpr.value == 1.0
    assert noisy.accuracy.high - noisy.accuracy.low > got.accuracy.high - got.accuracy.low
    # 1.96 standard deviations of four entries' noise.
    assert noisy.n.high - noisy.n.value == pytest.approx(1.959964 * 10.0, abs=1e-4)


@pytest.mark.parametrize(
    ("vector", "variance"),
    [([1, 2, 3], 0.0), ([1.0, 2.0, 3.0, 4.0], 0.0), ([1, 2, 3, 4], -1.0), ([1, 2, 3, -4], 0.0)],
)
def test_a_progress_vector_that_cannot_be_is_refused(vector, variance):
    with pytest.raises(FairnessError):
        progress(np.array(vector), variance=variance)


def test_the_room_starts_without_torch_or_the_oracles():
    code = (
        "import sys, fedethics.fairness; "
        "heavy = ('torch', 'flwr', 'sklearn', 'fairlearn', 'pandas'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
