"""The trained model beside its start: who may ask for it, what it costs, counts, and the gate."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fedethics.aggregates.noise import Account
from fedethics.aggregates.paired import PAIRED
from fedethics.aggregates.paired.gate import NAME, examine
from fedethics.aggregates.paired.report import build
from fedethics.aggregates.paired.site import count
from fedethics.charter import document
from fedethics.charter.paired_terms import PairedObjective, PairedTerms, paired_rule
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.plan import make_plan
from fedethics.release.rules.bars import together
from fedethics.training.learner import Learner
from tests.learning_tasks.test_choice import choice_of
from tests.privacy.charters import HEART
from tests.training.tiny_models import save_tiny

torch.set_num_threads(1)


def bar(metric="accuracy_change", at=-0.05):
    return PairedObjective(metric=metric, bar=at, why="It must not get worse.")


def terms(*objectives, **changes):
    told = {"feature": "", "epsilon": 0.5} | changes
    return PairedTerms(objectives=objectives or (bar(),), **told)


@pytest.fixture(scope="module")
def heart():
    return document.load(HEART)


def told(charter, asked, **changes):
    model = dataclasses.replace(charter.model, **changes)
    return list(paired_rule(asked, model, charter.adapter, charter.data, charter.privacy))


def test_a_head_that_is_drawn_at_random_is_nothing_to_compare_with(heart):
    (said,) = told(heart, terms())
    assert "drawn at random" in said and "adapter.from" in said
    started = dataclasses.replace(heart.adapter, from_="0" * 64)
    problems = paired_rule(terms(), heart.model, started, heart.data, heart.privacy)
    assert list(problems) == []


@pytest.mark.parametrize("task", ["sft", "preference"])
def test_tasks_that_decide_nothing_right_or_wrong_are_refused_by_name(heart, task):
    (said,) = told(heart, terms(), task=task)
    assert f"model.task {task!r} decides nothing that is right or wrong" in said


def test_groups_and_budget_are_checked(heart):
    asked = terms(feature="shoe", epsilon=7.0)
    told_ = " ".join(told(heart, asked, task="causal-lm"))
    assert "paired.feature: 'shoe' is not a sensitive feature" in told_
    assert "leaves nothing of privacy.evaluation.epsilon" in told_
    assert "feature names none" in " ".join(terms(bar("accuracy_change_group_min")).problems())
    assert "two bars" in " ".join(terms(bar(), bar(at=0.0)).problems())


def asking(heart, **changes):
    return dataclasses.replace(heart, paired=terms(**changes))


def test_it_pays_its_own_epsilon_out_of_the_evaluations(heart):
    asked = asking(heart, feature="sex", epsilon=0.4)
    plan = make_plan(asked)
    own = PAIRED.of(plan.sums)
    assert own.charge(Account.TRAINING) == ()
    cost = epsilon(own.charge(Account.EVALUATION), delta=heart.privacy.delta)
    assert 0.38 < cost <= 0.4
    assert plan.evaluation.epsilon <= heart.privacy.evaluation.epsilon
    assert plan.fairness.counts.std > make_plan(heart).fairness.counts.std
    assert PAIRED.spec(asked, own, vector_length=9).length == 8
    assert PAIRED.permissions(asked) == ("paired",) and PAIRED.permissions(heart) == ()
    assert b"paired" not in document.encode(heart)


def folder_of(charter, counts):
    entry = SimpleNamespace(kind="paired", round=charter.training.rounds, counts=counts)
    opened = () if counts is None else (entry,)
    return SimpleNamespace(charter=charter, evidence=SimpleNamespace(counted=opened, rounds=opened))


@pytest.fixture(scope="module")
def federated(stage_charter):
    return stage_charter


@pytest.fixture(scope="module")
def stage_charter(heart):
    from fedethics.charter.model import Member

    roster = tuple(
        Member(site=name, public_key=f"{place}" * 64, declared_records=4000)
        for place, name in enumerate(("a", "b", "c", "d"), start=1)
    )
    return dataclasses.replace(heart, roster=roster)


@pytest.mark.parametrize(
    ("counts", "verdict", "said"),
    [
        ((3000, 300, 100, 700, 3000, 280, 120, 700), "pass", "at least -0.05"),
        ((3000, 30, 900, 700, 3000, 20, 800, 700), "fail", "worse than the charter allows"),
        ((60, 8, 9, 20, 60, 9, 10, 20), "cannot conclude", "The bar lies within"),
        (None, "cannot conclude", "no such sum is on record"),
    ],
)
def test_the_gate_judges_each_bar_by_the_interval(federated, counts, verdict, said):
    asked = dataclasses.replace(
        federated, paired=terms(bar(), bar("accuracy_change_group_min"), feature="sex")
    )
    rules = together(examine(folder_of(asked, counts)))
    assert {rule.verdict for rule in rules} == {verdict}
    assert all(said in rule.sentence for rule in rules)
    assert len(rules) == (1 if counts is None else 2)
    section = build(folder_of(asked, counts), None)
    assert section is not None
    if counts:
        (table,) = section.tables.values()
        assert [row[0] for row in table.rows] == ["everyone", "sex: Female", "sex: Male"]


def test_counts_that_nobody_asked_for_fail_and_a_plain_charter_has_no_rule(federated):
    (rule,) = examine(folder_of(federated, (1, 2, 3, 4)))
    assert (rule.name, rule.verdict) == (NAME, "fail")
    assert examine(folder_of(federated, None)) == ()
    assert build(folder_of(federated, None), None) is None


def test_the_forecast_says_from_which_change_a_bar_holds(federated):
    asked = dataclasses.replace(federated, paired=terms(bar(at=-0.05)))
    ((name, said),) = PAIRED.foretold(asked, PAIRED.of(make_plan(asked).sums))
    assert name == "accuracy_change, by the gate"
    assert said.startswith("holds with 80 % if the change truly is -0.03")
    small = dataclasses.replace(
        asked, roster=tuple(dataclasses.replace(one, declared_records=3) for one in asked.roster)
    )
    ((_, said),) = PAIRED.foretold(small, PAIRED.of(make_plan(small).sums))
    assert said.startswith("cannot hold")


def test_a_sites_counts_are_those_of_each_record_answered_alone_by_both_models(tmp_path):
    save_tiny(tmp_path, "llama", task="causal-lm")
    charter = choice_of(tmp_path, "llama", ("yes", "no", "t", "s"))
    charter = dataclasses.replace(
        charter, paired=terms(feature=charter.data.sensitive[0].name, epsilon=0.5)
    )
    learner, random = Learner(charter, model_dir=tmp_path), np.random.default_rng(0)
    texts = [" ".join(random.choice([*"abcdefghij"], size=4)) for _ in range(40)]
    groups = len(charter.data.sensitive[0].groups)
    features = len(charter.data.sensitive)
    part = SimpleNamespace(
        texts=texts,
        labels=random.integers(0, 4, 40),
        groups=np.column_stack([random.integers(0, groups, 40)] * features),
    )
    context = SimpleNamespace(
        charter=charter,
        plan=SimpleNamespace(sums={"paired": plan_without_noise(charter)}, count_mechanism=None),
        workbench=SimpleNamespace(
            records=SimpleNamespace(held_out=part),
            learner=learner,
            activations=lambda part: learner.activations(part.texts),
        ),
    )
    shift = 0.5 * random.standard_normal(learner.size)
    trained = (learner.initial_vector() + shift).astype(np.float32)
    found = count(context, trained, None, None).reshape(-1, 4)
    looped = np.zeros_like(found)
    for text, label, group in zip(texts, part.labels, part.groups[:, 0], strict=True):
        right = [
            int(learner.scores(vector, learner.activations([text]))[0].argmax() == label)
            for vector in (learner.initial_vector(), trained)
        ]
        looped[group, {(1, 1): 0, (0, 1): 1, (1, 0): 2, (0, 0): 3}[tuple(right)]] += 1
    assert np.array_equal(found, looped) and (found.sum(axis=0)[1:3] > 0).all()


def plan_without_noise(charter):
    evaluation = dataclasses.replace(charter.privacy.evaluation, mechanism="none")
    privacy = dataclasses.replace(charter.privacy, evaluation=evaluation)
    return PAIRED.plan(dataclasses.replace(charter, privacy=privacy), 0.0)
