"""What the model relies on, through a whole federation: summed, charged, opened, shown."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from fedethics.charter.ethics_terms import ExplanationTerms, Objective
from fedethics.errors import PolicyRefusal
from fedethics.fairness import aggregate, importance
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.ledger import read_book
from fedethics.privacy.plan import make_plan
from fedethics.protocol import Action
from fedethics.release import folder, gate
from fedethics.release.verification import verify
from fedethics.site.workbench import open_workbench
from fedethics.training.learner import Learner
from tests.attacks.conftest import Liar

WORDS = {"Female": "woman", "Male": "man"}


def explained(charter):
    terms = ExplanationTerms(columns=("cp", "chol"), swap=("sex",), largest_change=0.25)
    flips = Objective(
        metric="counterfactual_flip_rate", feature="sex", bar=0.9, direction="at-most", why="Test."
    )
    ethics = dataclasses.replace(
        charter.ethics, explanation=terms, objectives=(*charter.ethics.objectives, flips)
    )
    return dataclasses.replace(charter, ethics=ethics)


def test_what_is_explained_is_charged_within_the_epsilon_judged_and_shown(lab):
    stage = lab.stage(change=explained)
    run = lab.run(stage)
    plan, opened = make_plan(stage.charter), folder.load(run)
    for home in stage.homes.values():
        book = read_book(home / "ledger.db")
        held_out = list(book.charges.values())[-1]
        assert held_out.kind == "fairness" and len(held_out.events) == 4
        spent = book.spent(held_out.data_set, delta=plan.delta)
        assert spent == pytest.approx(epsilon(plan.evaluation.events, delta=plan.delta))
        assert spent <= 3.0
    assert opened.evidence.effects_variance == pytest.approx(plan.fairness.effects.sum_variance)
    assert tuple(importance(opened.tables)) == ("cp", "chol")
    rules = {rule.name: rule for rule in gate.examine(run).rules}
    # After two rounds the model may give everyone one answer; then nobody flips, and nothing holds.
    # Noise may then carry the rate below zero: there is no estimate, and the interval stands.
    flips = rules["counterfactual_flip_rate by sex"]
    assert flips.verdict != "fail" and 0 <= flips.figure.low <= flips.figure.high <= 1
    assert flips.figure.value is None or flips.figure.low <= flips.figure.value <= flips.figure.high
    assert rules["noise as planned"].verdict == "pass"
    assert all(not check.problems for check in verify(run))
    page = (run / "report.html").read_text()
    assert "What the model relies on" in page and "If the word for sex were another" in page
    told = json.loads((run / "report.json").read_text())["explained"]
    assert [block["title"] for block in told["blocks"]] == [
        "What the score relies on", "If the word for sex were another",
    ]  # fmt: skip
    card = folder.located(run, folder.CARD).read_text()
    assert "### What the score relies on" in card


def test_without_noise_the_sums_are_those_of_all_records_pooled(lab):
    stage = lab.stage(dp=False, change=explained)
    tables = folder.load(lab.run(stage)).tables
    run = stage.run_dir
    learner = Learner(stage.charter)
    adapter = np.frombuffer((run / "rounds" / "adapter-0002.f32").read_bytes(), dtype="<f4")

    def score(texts):
        return learner.scores(adapter, learner.activations(texts))

    changes, flips = [], []
    for home in stage.homes.values():
        data = Path(tomllib.loads((home / "site.toml").read_text())["data"])
        part = open_workbench(stage.charter, data=data, model_dir=None).records.held_out
        whole = score(part.texts)
        # The text told by hand: phrases stand between commas, the third is the chest pain.
        without = score([", ".join(np.delete(t.split(", "), 2)) for t in part.texts])
        swapped = [
            ", ".join(
                {"woman": "man", "man": "woman"}.get(phrase, phrase) for phrase in text.split(", ")
            )
            for text in part.texts
        ]
        changes.append(np.minimum(np.abs(whole - without), 0.25))
        flips.append((score(swapped) >= 0.5) != (whole >= 0.5))
    found = importance(tables)["cp"]
    # Each change is rounded to 1/256.
    assert found.value == pytest.approx(np.concatenate(changes).mean(), abs=1 / 512)
    rate = aggregate(tables, "counterfactual_flip_rate", feature="sex").value
    assert rate == pytest.approx(np.concatenate(flips).mean(), abs=1.5 / 257)


def test_a_site_whose_policy_lists_the_tables_but_not_the_explanation_refuses_it_by_name(lab):
    stage = lab.stage(change=explained)
    for home in stage.homes.values():
        path = home / "policy.toml"
        path.write_text(path.read_text().replace(', "explanation"', ""))
    with pytest.raises(PolicyRefusal, match=r"'explanation' releases, which allow\.releases"):
        Liar(stage).ask("hungary", Action.ANNOUNCE, epoch=b"run/7")
