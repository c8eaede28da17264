"""Rates of several classes are scikit-learn's and Fairlearn's; a record counts once in a block."""

from __future__ import annotations

import dataclasses

import fairlearn.metrics as fl
import numpy as np
import pytest
import sklearn.metrics as skm

from fedethics.charter.ethics_terms import Objective as Stated
from fedethics.errors import FairnessError
from fedethics.fairness import (
    Layout,
    Objective,
    SensitiveFeature,
    Tables,
    aggregate,
    by_group,
    find_metric,
    judge,
    overall,
    progress,
    tabulate,
)
from fedethics.fairness.classes import FULL_TABLE, Classes
from fedethics.fairness.tabulate import tabulate_progress
from fedethics.learning_tasks import know_rates

know_rates()
SEXES = ("Female", "Male")
FOUR = Classes(("none", "mild", "severe", "gone [past help]"))
MANY = Classes(tuple(f"species {k}" for k in range(FULL_TABLE + 2)))


def layout_of(measured):
    return Layout(
        features=(
            SensitiveFeature(name="sex", groups=SEXES),
            SensitiveFeature(name="age", groups=("young", "old", "oldest")),
        ),
        measured=measured,
    )


def drawn(measured, *, size=900, seed=0, skill=2.0):
    """Return groups, labels and scores of a model that is right more often than not."""
    random, count = np.random.default_rng(seed), len(measured.names)
    labels = random.choice(count, size, p=random.dirichlet(np.full(count, 5.0)))
    logits = random.normal(size=(size, count))
    logits[np.arange(size), labels] += skill
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    groups = np.stack([random.integers(0, 2, size), random.integers(0, 3, size)], axis=1)
    return groups, labels, scores


def opened(measured, groups, labels, scores, *, noise=0.0, seed=1):
    layout = layout_of(measured)
    vector = tabulate(layout, groups=groups, labels=labels, scores=scores)
    if noise:
        random = np.random.default_rng(seed)
        vector = vector + np.rint(random.normal(0, noise**0.5, vector.size)).astype(np.int64)
    return Tables.from_vector(
        vector, layout=layout, counts_variance=noise, histogram_variance=noise, sites=3
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_rates_of_one_class_are_those_of_scikit_learn_for_that_class_against_the_rest(seed):
    groups, labels, scores = drawn(FOUR, seed=seed)
    tables, decided = opened(FOUR, groups, labels, scores), scores.argmax(axis=1)
    oracles = {
        "recall_score": skm.recall_score,
        "precision_score": skm.precision_score,
        "f1_score": skm.f1_score,
        "selection_rate": fl.selection_rate,
        "false_positive_rate": fl.false_positive_rate,
        "true_negative_rate": fl.true_negative_rate,
    }
    for metric, oracle in oracles.items():
        for k, name in enumerate(FOUR.names):
            asked = f"{metric}[{name}]"
            expected = oracle(labels == k, decided == k)
            assert overall(tables, asked).value == pytest.approx(expected, abs=1e-12)
            frame = fl.MetricFrame(
                metrics=oracle, y_true=labels == k, y_pred=decided == k,
                sensitive_features=np.array(SEXES)[groups[:, 0]],
            )  # fmt: skip
            found = by_group(tables, asked, feature="sex")
            for sex in SEXES:
                assert found[sex].estimate.value == pytest.approx(frame.by_group[sex], abs=1e-12)
            gap = aggregate(tables, f"{metric}_difference[{name}]", feature="sex")
            assert gap.value == pytest.approx(frame.difference(), abs=1e-12)
            ratio = aggregate(tables, f"{metric}_ratio[{name}]", feature="sex")
            assert ratio.value == pytest.approx(frame.ratio(), abs=1e-12)


def test_means_over_the_classes_are_scikit_learns_macro_averages():
    groups, labels, scores = drawn(FOUR)
    tables, decided = opened(FOUR, groups, labels, scores), scores.argmax(axis=1)
    expected = {
        "accuracy_score": skm.accuracy_score(labels, decided),
        "zero_one_loss": skm.zero_one_loss(labels, decided),
        "balanced_accuracy_score": skm.balanced_accuracy_score(labels, decided),
        "precision_macro": skm.precision_score(labels, decided, average="macro"),
        "f1_macro": skm.f1_score(labels, decided, average="macro"),
    }
    for metric, value in expected.items():
        assert overall(tables, metric).value == pytest.approx(value, abs=1e-12)
    frame = fl.MetricFrame(
        metrics=lambda y, p: skm.f1_score(y, p, average="macro"),
        y_true=labels, y_pred=decided, sensitive_features=groups[:, 1],
    )  # fmt: skip
    worst = aggregate(tables, "f1_macro_group_min", feature="age")
    assert worst.value == pytest.approx(frame.group_min(), abs=1e-12)
    true = scores[np.arange(len(labels)), labels]
    assert overall(tables, "mean_true_score").value == pytest.approx(true.mean(), abs=1 / 64)


def test_without_a_class_a_gap_is_that_of_the_class_with_the_widest():
    groups, labels, scores = drawn(FOUR, size=400)
    tables, decided = opened(FOUR, groups, labels, scores), scores.argmax(axis=1)
    sexes = groups[:, 0]
    for metric, oracle in (
        ("demographic_parity_difference", fl.demographic_parity_difference),
        ("equalized_odds_difference", fl.equalized_odds_difference),
        ("equal_opportunity_difference", fl.equal_opportunity_difference),
    ):
        each = [
            oracle(labels == k, decided == k, sensitive_features=sexes)
            for k in range(len(FOUR.names))
        ]
        assert aggregate(tables, metric, feature="sex").value == pytest.approx(max(each))
    recalls = [
        skm.recall_score(labels[sexes == s] == k, decided[sexes == s] == k)
        for s in (0, 1)
        for k in range(len(FOUR.names))
    ]
    worst = aggregate(tables, "recall_score_group_min", feature="sex")
    assert worst.value == pytest.approx(min(recalls))


@pytest.mark.parametrize("measured", [FOUR, MANY], ids=["each pair", "hit or miss"])
def test_tables_are_a_count_of_the_records_one_by_one(measured):
    groups, labels, scores = drawn(measured, size=120)
    layout = layout_of(measured)
    counts = np.zeros((*layout.shape, *measured.decisions), dtype=np.int64)
    bins = np.zeros((*layout.shape, 1, layout.bins), dtype=np.int64)
    for group, label, score in zip(groups, labels, scores, strict=True):
        best = max(range(len(score)), key=lambda k: (score[k], -k))
        decision = best if measured.full else int(best == label)
        counts[(*group, label, decision)] += 1
        bins[(*group, 0, int(score[label] * layout.bins))] += 1
    vector = tabulate(layout, groups=groups, labels=labels, scores=scores)
    np.testing.assert_array_equal(vector, np.concatenate([counts.ravel(), bins.ravel()]))
    light = tabulate_progress(layout, labels=labels, scores=scores)
    np.testing.assert_array_equal(light, counts.sum(axis=(0, 1)).ravel())
    for row in range(0, 120, 12):
        kept = np.arange(120) != row
        less = tabulate(layout, groups=groups[kept], labels=labels[kept], scores=scores[kept])
        changed = vector - less
        assert sorted(changed[changed != 0].tolist()) == [1, 1]
        assert changed[: layout.counts_length].sum() == 1


def test_of_many_classes_hits_tell_accuracy_and_recalls_and_nothing_of_other_decisions():
    groups, labels, scores = drawn(MANY, size=1500)
    tables, decided = opened(MANY, groups, labels, scores), scores.argmax(axis=1)
    assert tables.counts.shape[1:] == (len(MANY.names), 2)
    assert overall(tables, "accuracy_score").value == pytest.approx(np.mean(labels == decided))
    assert overall(tables, "balanced_accuracy_score").value == pytest.approx(
        skm.balanced_accuracy_score(labels, decided)
    )
    recall = skm.recall_score(labels, decided, average=None)
    for k, name in enumerate(MANY.names):
        assert overall(tables, f"recall_score[{name}]").value == pytest.approx(recall[k])
    light = progress(
        tabulate_progress(tables.layout, labels=labels, scores=scores),
        variance=0.0, measured=MANY,
    )  # fmt: skip
    assert light.accuracy.value == pytest.approx(np.mean(labels == decided))
    for metric in ("selection_rate[species 3]", "precision_score[species 3]", "precision_macro"):
        with pytest.raises(FairnessError, match="does not follow from what this task measures"):
            overall(tables, metric)
    assert not MANY.answers(find_metric("demographic_parity_difference"))
    assert MANY.answers(find_metric("equal_opportunity_difference"))


@pytest.mark.parametrize(
    "metric",
    ["recall_score", "roc_auc_score", "recall_score[unheard of]", "count[none]", "accuracy_score["],
)
def test_what_does_not_follow_is_refused_by_name(metric):
    tables = opened(FOUR, *drawn(FOUR, size=50))
    with pytest.raises(FairnessError) as refused:
        overall(tables, metric)
    assert metric in str(refused.value)
    assert "species" not in str(refused.value)


def test_a_message_names_the_rates_of_a_class_once_however_many_classes_there_are():
    with pytest.raises(FairnessError) as refused:
        Classes(tuple(map(str, range(1000)))).require("recall_score[none]")
    assert "recall_score[CLASS]" in str(refused.value)
    assert len(str(refused.value)) < 600


def test_a_thousand_classes_are_counted_and_judged():
    measured = Classes(tuple(f"code {k}" for k in range(1000)))
    tables = opened(measured, *drawn(measured, size=3000, skill=6.0))
    found = judge(tables, Objective(metric="accuracy_score", feature=None, bar=0.5,
                                    direction="at-least"))  # fmt: skip
    assert found.outcome == "holds"
    gap = Objective(metric="accuracy_score_difference", feature="sex", bar=0.5, direction="at-most")
    assert judge(tables, gap).outcome == "holds"


@pytest.mark.parametrize("measured", [FOUR, MANY], ids=["each pair", "hit or miss"])
def test_a_gap_does_not_hold_where_everyone_is_given_one_class(measured):
    groups, labels, scores = drawn(measured, size=4000, skill=3.0)
    parity = "equal_opportunity_difference" if measured is MANY else "demographic_parity_difference"
    asked = Objective(metric=parity, feature="sex", bar=0.9, direction="at-most")
    assert judge(opened(measured, groups, labels, scores), asked).outcome == "holds"
    scores[:, 1] = 1.0
    found = judge(opened(measured, groups, labels, scores), asked)
    assert found.outcome == "cannot conclude"
    assert "nearly everyone the same answer" in found.remedy


def test_intervals_of_means_over_the_classes_hold_the_truth_as_often_as_promised():
    skill, rounds = 1.5, 120
    groups, labels, scores = drawn(FOUR, size=200_000, seed=9, skill=skill)
    truth = opened(FOUR, groups, labels, scores)
    metrics = ("balanced_accuracy_score", "precision_macro", "f1_macro", "f1_score[mild]")
    covered = dict.fromkeys(metrics, 0)
    for row in range(rounds):
        rows = slice(600 * row, 600 * (row + 1))
        seen = opened(FOUR, groups[rows], labels[rows], scores[rows], noise=4.0, seed=row)
        for metric in metrics:
            estimate = overall(seen, metric)
            covered[metric] += estimate.low <= overall(truth, metric).value <= estimate.high
    # 120 draws of a 95 % interval miss more than 13 times once in 500.
    assert min(covered.values()) >= rounds - 13


def test_records_that_are_no_class_or_no_scores_are_refused_with_their_number_only():
    groups, labels, scores = drawn(FOUR, size=20)
    layout = layout_of(FOUR)
    for bad in (
        {"labels": np.where(labels == labels[3], 4, labels)},
        {"labels": labels + 0.5},
        {"scores": scores[:, :3]},
        {"scores": scores * 2},
        {"scores": np.where(scores == scores.max(), np.nan, scores)},
    ):
        given = {"groups": groups, "labels": labels, "scores": scores} | bad
        with pytest.raises(FairnessError):
            tabulate(layout, **given)
    empty = {"groups": groups[:0], "labels": labels[:0], "scores": np.empty(0)}
    assert not tabulate(layout, **empty).any()


def test_an_objective_on_a_class_is_one_line_of_a_charter():
    stated = Stated(
        metric="recall_score_group_min[severe]", feature="sex", bar=0.5, direction="at-least",
        why="Severe disease must be found in each sex.",
    )  # fmt: skip
    assert stated.problems() == []
    assert not stated.needs_scores
    tables = opened(FOUR, *drawn(FOUR))
    verdict = judge(
        tables, Objective(**{k: getattr(stated, k) for k in ("metric", "feature", "bar",
                                                           "direction")})
    )  # fmt: skip
    assert "the class 'severe' against all others" in verdict.sentence
    assert dataclasses.replace(stated, feature="").problems()


def test_a_class_that_a_group_cannot_have_is_left_out_where_groups_of_its_feature_are_compared():
    told = Classes(FOUR.names, incomparable=(("sex", "severe"),))
    groups, labels, scores = drawn(FOUR, size=3000)
    labels = np.where((groups[:, 0] == 1) & (labels == 2), 0, labels)  # no man is severe
    tables, decided = opened(told, groups, labels, scores), scores.argmax(axis=1)
    sexes, kept = groups[:, 0], [0, 1, 3]

    def recalls(rows, classes):
        return skm.recall_score(labels[rows], decided[rows], labels=classes, average=None)

    means = [recalls(sexes == sex, kept).mean() for sex in (0, 1)]
    macro = aggregate(tables, "balanced_accuracy_score_difference", feature="sex")
    assert macro.value == pytest.approx(abs(means[0] - means[1]), abs=1e-12)
    gaps = np.abs(recalls(sexes == 0, kept) - recalls(sexes == 1, kept))
    worst = aggregate(tables, "recall_score_difference", feature="sex")
    assert worst.value == pytest.approx(gaps.max(), abs=1e-12)
    # Over everyone, and between groups of another feature, it counts.
    everyone = recalls(sexes >= 0, [0, 1, 2, 3]).mean()
    assert overall(tables, "balanced_accuracy_score").value == pytest.approx(everyone, abs=1e-12)
    ages = [recalls(groups[:, 1] == age, [0, 1, 2, 3]).mean() for age in (0, 1, 2)]
    lowest = aggregate(tables, "balanced_accuracy_score_group_min", feature="age")
    assert lowest.value == pytest.approx(min(ages), abs=1e-12)
    # Without the declaration, nothing can be said of men, and the gap cannot hold.
    asked = Objective(
        metric="equal_opportunity_difference", feature="sex", bar=0.9, direction="at-most"
    )
    plain = judge(opened(FOUR, groups, labels, scores), asked)
    assert plain.outcome == "cannot conclude" and "Male" in plain.remedy
    assert judge(tables, asked).outcome == "holds"
