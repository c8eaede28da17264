"""Training steered between groups, through a whole federation: counted, charged, weighed."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import numpy as np
import pytest

from fedethics import charter_sums
from fedethics.charter.ethics_terms import MitigationTerms
from fedethics.errors import PolicyRefusal, RunError, SecaggReject
from fedethics.identity import Identity
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.ledger import read_book
from fedethics.privacy.plan import make_plan
from fedethics.protocol import Action
from fedethics.release import evidence, folder
from fedethics.site.workbench import open_workbench
from fedethics.steering import group_weights
from tests.attacks.conftest import Liar

SITE = "cleveland"


def steered(method="dual-ascent", **terms):
    mitigation = MitigationTerms(method=method, feature="sex", **terms)
    return lambda charter: dataclasses.replace(charter, mitigation=mitigation)


def allow(stage):
    """Let every site's policy allow counts of training records."""
    for home in stage.homes.values():
        path = home / "policy.toml"
        path.write_text(path.read_text().replace('"fairness",', '"fairness", "steering",'))


def test_the_counts_are_charged_to_the_training_records_within_their_one_epsilon(lab):
    stage = lab.stage(change=steered(epsilon=1.0))
    allow(stage)
    run = lab.run(stage)
    plan = make_plan(stage.charter)
    assert plan.steering.rounds == (1, 2)
    assert plan.training.epsilon <= stage.charter.privacy.training.epsilon
    without = make_plan(dataclasses.replace(stage.charter, mitigation=MitigationTerms()))
    # The counts leave less for gradients.
    assert plan.update.noise_multiplier > without.update.noise_multiplier
    book = read_book(stage.homes[SITE] / "ledger.db")
    kinds = [charge.kind for charge in book.charges.values()]
    assert kinds == ["steering", "update", "progress", "steering", "update", "fairness"]
    train = next(c.data_set for c in book.charges.values() if c.kind == "update")
    spent = book.spent(train, delta=stage.charter.privacy.delta)
    assert spent == pytest.approx(epsilon(plan.training.events, delta=plan.delta))
    found = evidence.load(run / folder.EVIDENCE)
    assert [(one.kind, one.round) for one in found.rounds if one.kind == charter_sums.STEERING] == [
        (charter_sums.STEERING, 1),
        (charter_sums.STEERING, 2),
    ]
    assert [one.variance for one in found.steering] == [plan.steering.noise.sum_variance] * 2
    page = (run / "report.html").read_text()
    assert "Gaps by sex over the rounds" in page and "Weights of the last round" in page


def test_without_noise_the_counts_are_those_of_all_training_records_pooled(lab):
    stage = lab.stage(dp=False, change=steered("reweighing"))
    allow(stage)
    found = evidence.load(lab.run(stage) / folder.EVIDENCE)
    (opened,) = found.steering
    sex_of, label_of = [], []
    for home in stage.homes.values():
        settings = tomllib.loads((home / "site.toml").read_text())
        data = Path(settings["data"])
        part = open_workbench(stage.charter, data=data, model_dir=None).records.train
        sex_of.append(part.groups[:, 0])
        label_of.append(part.labels)
    sex, label = np.concatenate(sex_of), np.concatenate(label_of)
    counts = np.array(opened.counts).reshape(2, 2, 2)
    for group in (0, 1):
        for y in (0, 1):
            assert counts[group, y].sum() == ((sex == group) & (label == y)).sum()
    weights = group_weights(stage.charter, [np.array(opened.counts)], variance=0.0).table
    weighted = weights * counts.sum(axis=2)
    share = weighted / weighted.sum()
    assert share == pytest.approx(share.sum(1, keepdims=True) * share.sum(0, keepdims=True))


def test_weights_change_what_is_learned_and_nothing_else_of_the_run(lab):
    adapters = {}
    for name, change in (("plain", lambda c: c), ("steered", steered("reweighing"))):
        stage = lab.stage(dp=False, folder=name, noise_seed="same", change=change)
        allow(stage)
        run = lab.run(stage)
        adapters[name] = (run / "rounds" / "adapter-0001.f32").read_bytes()
    assert adapters["plain"] != adapters["steered"]


def test_a_site_whose_policy_does_not_list_steering_refuses_it_by_name(lab):
    stage = lab.stage(change=steered())
    with pytest.raises(RunError, match="0 of 4 sites are willing"):
        lab.run(stage)
    liar = Liar(stage)
    with pytest.raises(PolicyRefusal, match=r"'steering' releases, which allow\.releases"):
        liar.ask(SITE, Action.ANNOUNCE, epoch=b"run/7")


def test_counts_that_the_site_was_not_told_steer_nothing_and_cost_nothing(lab):
    stage = lab.stage(change=steered())
    allow(stage)
    liar = Liar(stage)
    liar.enrol()
    opening = liar.open(charter_sums.UPDATE, 1)
    groups = charter_sums.steering_groups(stage.charter)
    forged = np.full(4 * groups, 1000, dtype="<i8").tobytes()
    for sums, said in ((forged, "are not those that this site received"), (b"", "0 bytes of")):
        with pytest.raises(SecaggReject, match=said):
            liar.ask(
                SITE,
                Action.TRAIN,
                open=opening.open_message,
                adapter=liar.adapter.astype("<f4").tobytes(),
                steering=sums,
            )
    identity = Identity.load(stage.homes[SITE] / "identity.key")
    assert not read_book(stage.homes[SITE] / "ledger.db", identity.public_key).charges
