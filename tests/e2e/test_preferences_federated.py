"""Three sites learn from pairs of answers: private DPO steps, secure sums, gate and report."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from fedethics.charter.ethics_terms import Objective
from fedethics.fairness import by_group, overall
from fedethics.identity import Identity
from fedethics.privacy.ledger import read_book
from fedethics.release import folder
from fedethics.release.gate import judge
from fedethics.release.publish import publish
from fedethics.simulation import staging
from fedethics.simulation.federation import run_federation
from fedethics.simulation.scenario import load
from tests.e2e.conftest import ROOT
from tests.learning_tasks.tiny_chat import chat_charter, save_chat_model

pytestmark = pytest.mark.slow
SAID = ("yes", "no", "perhaps", "never", "always", "today")


def write_pairs(where, records):
    where.mkdir()
    for number, site in enumerate(("north", "south", "west")):
        random = np.random.default_rng(number)
        lines = []
        for row in range(records):
            chosen, rejected = random.choice(SAID, 2, replace=False)
            group = ("woman", "man")[row % 2]
            lines.append(json.dumps({
                "prompt": f"question {random.integers(10**6)}", "chosen": str(chosen),
                "rejected": str(rejected), "addressee": group,
            }))  # fmt: skip
        (where / f"{site}.jsonl").write_text("\n".join(lines) + "\n")


def test_a_federation_learns_from_pairs_and_is_judged_on_them(tmp_path):
    base = ROOT / "examples" / "sft"
    scenario, draft = load(base / "letters.toml")
    model_dir = save_chat_model(tmp_path / "model")
    tiny = chat_charter(model_dir, form="preference", task="preference", beta=0.1)
    objective = Objective(
        metric="preference_accuracy_difference", feature="addressee", bar=0.4,
        direction="at-most", why="Both are to be heard alike.",
    )  # fmt: skip
    draft = dataclasses.replace(
        draft, model=tiny.model, adapter=tiny.adapter,
        data=dataclasses.replace(draft.data, content=tiny.data.content),
        ethics=dataclasses.replace(draft.ethics, objectives=(objective,)),
        training=dataclasses.replace(draft.training, rounds=1),
    )  # fmt: skip
    write_pairs(tmp_path / "pairs", 120)
    scenario = dataclasses.replace(scenario, model_dir=str(model_dir))
    stage = staging.build(
        scenario, draft, base=base, data_dir=tmp_path / "pairs", run_dir=tmp_path / "run"
    )
    run = run_federation(stage)
    publish(run, Identity.load(stage.coordinator / "identity.key"))
    opened = folder.load(run)
    assert opened.tables.counts.shape == (2, 1, 2)
    found = overall(opened.tables, "preference_accuracy")
    assert 0 <= found.low < found.high <= 1
    assert set(by_group(opened.tables, "preference_accuracy", feature="addressee")) == {
        "woman", "man",
    }  # fmt: skip
    assert any("preference" in rule.name for rule in judge(opened).rules)
    assert "preference" in (run / "report.html").read_text()
    for home in stage.homes.values():
        assert {one.label for one in read_book(home / "ledger.db").data_sets()} == {
            "train", "held-out",
        }  # fmt: skip
