"""A task that no product file knows of is read, trained with DP, measured and judged."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fedethics import charter_sums
from fedethics.charter import document
from fedethics.errors import CharterError, DataError, FairnessError, ModelError
from fedethics.fairness import Tables, aggregate, by_group, overall, progress, tabulate
from fedethics.fairness.tabulate import tabulate_progress
from fedethics.learning_tasks import LearningTask, find_task, register, task_names
from fedethics.training.clipping import clipped_sum
from fedethics.training.dp_sgd import site_of, train_round
from fedethics.training.engines import gradients_of
from fedethics.training.learner import Learner
from fedethics.training.self_test import self_test
from tests.learning_tasks.three_levels import THREE_LEVELS, ThreeLevels

LABELS = np.array([0, 1, 2] * 4)


@pytest.fixture(scope="module")
def learner(tiny_charter, tiny_folder):
    charter = tiny_charter(form="both")
    model = dataclasses.replace(charter.model, task="three-levels")
    return Learner(dataclasses.replace(charter, model=model), model_dir=tiny_folder)


def test_an_unknown_task_is_refused_with_those_that_are_known(heart_text, tmp_path):
    path = tmp_path / "charter.toml"
    path.write_text(heart_text.replace("[model]\n", '[model]\ntask = "regression"\n'))
    with pytest.raises(
        CharterError, match=r"model\.task: expected one of classification, causal-lm"
    ):
        document.load(path)
    with pytest.raises(ModelError, match="'regression' is unknown; known: classification, causal"):
        find_task("regression")


def test_a_name_stands_for_one_task():
    register(THREE_LEVELS)  # once more is no harm
    with pytest.raises(ModelError, match="registered twice"):
        register(ThreeLevels())
    assert task_names()[:2] == ("classification", "causal-lm")
    assert all(isinstance(find_task(name), LearningTask) for name in task_names())


def test_a_charter_asks_only_for_what_its_task_measures(heart_text, tmp_path):
    path = tmp_path / "charter.toml"
    path.write_text(heart_text.replace("[model]\n", '[model]\ntask = "three-levels"\n'))
    with pytest.raises(CharterError) as refused:
        document.load(path)
    said = str(refused.value)
    assert "roc_auc_score cannot be computed from what model.task 'three-levels' measures" in said
    assert "equal_opportunity_difference cannot be computed" in said
    assert "accuracy_score_group_min" not in said
    assert "ethics.explanation: model.task 'three-levels' has no score that a threshold" in said


def test_its_gradients_are_taken_for_each_record_and_clipped(learner, texts, terms, moved, noise):
    activations = learner.activations(texts)
    assert self_test(learner, activations, LABELS, terms(clipping_norm=0.05)).records > 0
    norm = 0.01
    with learner.lock, gradients_of(learner) as gradients:
        learner.load(moved(learner))
        site = site_of(
            learner, gradients, activations, LABELS, units=np.arange(12),
            terms=terms(clipping_norm=norm),
        )  # fmt: skip
        for row in range(12):
            one = clipped_sum(site, np.array([row]), terms=terms(clipping_norm=norm)).total
            assert 0 < float(one.norm()) <= norm * (1 + 1e-5)


def test_one_private_step_moves_the_model_by_its_own_loss(learner, texts, terms, noise):
    activations, start = learner.activations(texts), learner.initial_vector()

    def step(labels, **changes):
        return train_round(
            learner, vector=start, activations=activations, labels=labels,
            terms=terms(**changes), noise=noise, units=np.arange(12),
        ).update  # fmt: skip

    plain, other = step(LABELS), step((LABELS + 1) % 3)
    assert not np.array_equal(plain, other)
    noised = step(LABELS, noise_multiplier=1.0)
    assert np.isfinite(noised).all()
    assert not np.array_equal(plain, noised)
    before, after = (learner.scores(v, activations) for v in (start, start + plain))
    assert before.shape == (12, 3)
    np.testing.assert_allclose(after.sum(axis=1), 1.0)
    right = np.arange(12), LABELS
    assert np.log(after[right]).mean() > np.log(before[right]).mean()


def layout(learner):
    return charter_sums.layout_of(learner._charter)


def test_its_tables_count_a_record_once_in_each_block(learner):
    shape = layout(learner)
    random = np.random.default_rng(0)
    scores = random.dirichlet((1, 1, 1), size=90)
    groups = np.stack([random.integers(0, n, size=90) for n in shape.shape], axis=1)
    labels = random.integers(0, 3, size=90)
    assert shape.counts_length == shape.num_cells * 9
    assert shape.histogram_length == shape.histogram_cells * shape.bins
    whole = tabulate(shape, groups=groups, labels=labels, scores=scores)
    for row in range(0, 90, 9):
        kept = np.arange(90) != row
        less = tabulate(shape, groups=groups[kept], labels=labels[kept], scores=scores[kept])
        moved = whole - less
        assert sorted(moved[moved != 0].tolist()) == [1, 1]
        assert moved[: shape.counts_length].sum() == 1
    light = tabulate_progress(shape, labels=labels, scores=scores)
    assert (light.size, light.sum()) == (9, 90)


def test_its_rates_are_those_of_the_records(learner):
    shape = layout(learner)
    random = np.random.default_rng(1)
    scores, labels = random.dirichlet((1, 1, 1), size=600), random.integers(0, 3, size=600)
    groups = np.stack([random.integers(0, n, size=600) for n in shape.shape], axis=1)
    vector = tabulate(shape, groups=groups, labels=labels, scores=scores)
    vector = np.concatenate([vector, np.zeros(shape.explained.length, dtype=np.int64)])
    tables = Tables.from_vector(
        vector, layout=shape, counts_variance=0.0, histogram_variance=0.0, sites=3
    )
    decided, sure = scores.argmax(axis=1), scores[np.arange(600), labels]
    assert overall(tables, "accuracy_score").value == pytest.approx(np.mean(decided == labels))
    severe = labels == 2
    missed = overall(tables, "severe_missed_for_none")
    assert missed.value == pytest.approx(np.mean(decided[severe] == 0))
    assert overall(tables, "mean_sureness").value == pytest.approx(sure.mean(), abs=1 / shape.bins)
    found = by_group(tables, "severe_missed_for_none", feature="sex")
    for index, group in enumerate(shape.feature("sex").groups):
        own = severe & (groups[:, 0] == index)
        assert found[group].estimate.value == pytest.approx(np.mean(decided[own] == 0))
    values = [each.estimate.value for each in found.values()]
    gap = aggregate(tables, "severe_missed_for_none_difference", feature="sex")
    assert gap.value == pytest.approx(max(values) - min(values))
    light = progress(
        tabulate_progress(shape, labels=labels, scores=scores),
        variance=0.0, measured=shape.measured,
    )  # fmt: skip
    assert light.accuracy.value == pytest.approx(np.mean(decided == labels))
    assert (light.n.value, light.tpr.known) == (600, False)


def test_what_it_does_not_measure_is_refused_by_name(learner):
    shape = layout(learner)
    tables = Tables.from_vector(
        np.zeros(shape.length, dtype=np.int64),
        layout=shape, counts_variance=1.0, histogram_variance=1.0, sites=3,
    )  # fmt: skip
    for metric in ("roc_auc_score", "true_positive_rate", "theil_index", "flip_rate"):
        with pytest.raises(FairnessError, match=r"measures|swapped"):
            overall(tables, metric)


def test_a_measure_that_counts_a_record_elsewhere_is_refused(learner):
    class Wild(type(layout(learner).measured)):
        def read(self, targets, scores, *, threshold):
            return (
                super()
                .read(targets, scores, threshold=threshold)
                ._replace(decision=np.full(len(targets), 9))
            )

    shape = dataclasses.replace(layout(learner), measured=Wild())
    groups = np.zeros((1, len(shape.features)), dtype=np.int64)
    with pytest.raises(FairnessError, match="decisions are none that the task measures"):
        tabulate(shape, groups=groups, labels=np.array([1]), scores=np.array([[0.2, 0.3, 0.5]]))


def test_a_cell_that_means_no_target_is_told_with_those_that_do(learner, tmp_path):
    from fedethics.data.reading import read_records

    charter = learner._charter
    names = [column.name for column in charter.data.columns]
    row = {
        "age": "60", "sex": "Male", "cp": "asymptomatic", "exang": "TRUE", "oldpeak": "1",
        "thalch": "120", "chol": "200", "trestbps": "120", "fbs": "TRUE",
        "restecg": "normal", "num": "7",
    }  # fmt: skip
    path = tmp_path / "d.csv"
    cells = [row.get(name, "") for name in [*names, "num"]]
    path.write_text(",".join([*names, "num"]) + "\n" + ",".join(cells) + "\n")
    with pytest.raises(DataError, match="unknown label; allowed: 0, 1, 2, 3, 4"):
        read_records(path, charter.data, task="three-levels")
