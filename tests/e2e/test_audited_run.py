"""The membership audit through a whole federation: counted, charged on both accounts, judged."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import numpy as np
import pytest

from fedethics import charter_sums
from fedethics.aggregates.schedule import sum_specs
from fedethics.charter import document
from fedethics.charter.privacy_terms import AuditTerms
from fedethics.errors import PolicyRefusal, RunError, SecaggReject
from fedethics.flower.wire import parse_request
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.ledger import read_book
from fedethics.privacy.plan import make_plan
from fedethics.protocol import Action
from fedethics.release import evidence, folder, gate
from fedethics.release.receipts import genuine
from fedethics.release.rules.audit import NAME
from fedethics.release.verification import verify
from fedethics.secagg import framing
from fedethics.secagg.framing import Kind
from fedethics.site.workbench import open_workbench
from fedethics.training.learner import Learner
from tests.attacks.conftest import Liar

SITE = "cleveland"


def audited(**terms):
    def change(charter):
        audit = AuditTerms(attack="loss", **terms)
        return dataclasses.replace(
            charter, privacy=dataclasses.replace(charter.privacy, audit=audit)
        )

    return change


def test_the_audit_is_charged_to_both_accounts_within_their_epsilons_and_judged(lab):
    stage = lab.stage(change=audited(epsilon=1.0, bins=8))
    run = lab.run(stage)
    plan = make_plan(stage.charter)
    unaudited = make_plan(audited_off(stage.charter))
    assert plan.update.noise_multiplier > unaudited.update.noise_multiplier
    assert plan.fairness.counts.std > unaudited.fairness.counts.std
    book = read_book(stage.homes[SITE] / "ledger.db")
    charges = list(book.charges.values())
    kinds = [charge.kind for charge in charges]
    assert kinds == ["update", "progress", "update", "audit", "audit", "fairness"]
    train, held_out = charges[0].data_set, charges[-1].data_set
    assert [charge.data_set for charge in charges if charge.kind == "audit"] == [train, held_out]
    for account, events in ((train, plan.training.events), (held_out, plan.evaluation.events)):
        spent = book.spent(account, delta=plan.delta)
        assert spent == pytest.approx(epsilon(events, delta=plan.delta))
        assert spent <= 3.0
    found = evidence.load(run / folder.EVIDENCE)
    assert len(found.audit) == 16
    (opened,) = [one for one in found.rounds if one.kind == charter_sums.AUDIT]
    assert opened.round == 2 and set(opened.survivors) == set(stage.homes)
    receipt = genuine(found.receipts[0], roster_key=found.receipts[0].public_key)
    assert receipt.training_epsilon == pytest.approx(plan.training.epsilon)
    assert receipt.evaluation_epsilon == pytest.approx(plan.evaluation.epsilon)
    assert receipt.evaluation_rounds == (1, 2) and receipt.training_rounds == (1, 2)
    rule = next(one for one in gate.examine(run).rules if one.name == NAME)
    # So few units cannot show that a promise of 3 is broken.
    assert rule.verdict == "not informative"
    assert rule.sentence.startswith("No contradiction found")
    assert "how sure the adapter is" in (run / "report.html").read_text().lower()
    assert all(not check.problems for check in verify(run))


def audited_off(charter):
    privacy = dataclasses.replace(charter.privacy, audit=AuditTerms())
    return dataclasses.replace(charter, privacy=privacy)


def test_without_noise_the_histograms_are_those_of_all_records_pooled(lab):
    stage = lab.stage(dp=False, change=audited(bins=8))
    run = lab.run(stage)
    found = evidence.load(run / folder.EVIDENCE)
    learner = Learner(stage.charter)
    adapter = np.frombuffer((run / "rounds" / "adapter-0002.f32").read_bytes(), dtype="<f4")
    pooled = {"train": [], "held_out": []}
    for home in stage.homes.values():
        data = Path(tomllib.loads((home / "site.toml").read_text())["data"])
        records = open_workbench(stage.charter, data=data, model_dir=None).records
        for name, rows in pooled.items():
            part = getattr(records, name)
            scores = learner.scores(adapter, learner.activations(part.texts))
            rows.append(np.where(part.labels == 1, scores, 1 - scores))
    expected = [
        np.histogram(np.concatenate(rows), bins=8, range=(0, 1))[0] for rows in pooled.values()
    ]
    assert np.abs(np.concatenate(expected) - np.array(found.audit)).sum() <= 2  # of 740, at edges
    assert sum(found.audit) == 740


def test_a_site_whose_policy_does_not_list_the_audit_refuses_it_by_name(lab):
    stage = lab.stage(change=audited())
    for home in stage.homes.values():
        path = home / "policy.toml"
        path.write_text(path.read_text().replace('"audit", ', ""))
    with pytest.raises(RunError, match="0 of 4 sites are willing"):
        lab.run(stage)
    with pytest.raises(PolicyRefusal, match=r"'audit' releases, which allow\.releases"):
        Liar(stage).ask(SITE, Action.ANNOUNCE, epoch=b"run/7")


def test_an_audit_before_the_last_round_or_over_fewer_sites_costs_nothing(lab):
    stage = lab.stage(change=audited())
    liar = Liar(stage)
    liar.enrol()
    assert isinstance(liar.work(SITE, charter_sums.AUDIT, 1), SecaggReject)
    few = tuple(list(stage.homes)[:3])
    assert isinstance(liar.work(few[0], charter_sums.AUDIT, 2, cohort=few), Exception)
    assert not read_book(stage.homes[SITE] / "ledger.db").charges


def test_an_audit_that_a_site_missed_is_opened_once_when_the_job_is_resumed(lab):
    stage = lab.stage(change=audited())

    def lost(site, message):
        if site != SITE or message.metadata.message_type != Action.EVALUATE:
            return False
        opened = parse_request(message).payloads["open"]
        header = framing.decode(opened, kind=Kind.OPEN, max_body_bytes=0).header
        return header["task"] == charter_sums.AUDIT

    with pytest.raises(RunError, match="the audit sum of round 2"):
        lab.run(stage, lost=lost)
    found = evidence.load(lab.run(stage, resume=True) / folder.EVIDENCE)
    assert [one.kind for one in found.rounds].count(charter_sums.AUDIT) == 1
    for home in stage.homes.values():
        kinds = [charge.kind for charge in read_book(home / "ledger.db").charges.values()]
        assert kinds.count("audit") == 2  # one on each account, however often it was asked


def test_a_charter_without_an_audit_has_no_such_sum(lab):
    stage = lab.stage(change=audited_off)
    assert charter_sums.AUDIT not in sum_specs(stage.charter, vector_length=10)
    assert document.hash_of(stage.charter) != document.hash_of(audited()(stage.charter))
