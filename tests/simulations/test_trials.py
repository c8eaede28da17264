"""`[sweep]` and `[repeat]`: which runs they are, what they would cost, and that they go on."""

from __future__ import annotations

import csv
import math

import pytest

import fedethics
from fedethics.errors import CharterError, RunError
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.plan import make_plan
from fedethics.release import folder
from fedethics.release.rules.rule import Measurement, Rule
from fedethics.simulation import trials as trials_module
from fedethics.simulation.command import staged
from fedethics.simulation.scenario import load
from fedethics.simulation.trials import is_several, plan_trials
from fedethics.simulation.trials_page import Finished
from tests.drafting.test_frames import draft, pandas_frames

GRID = '"training.rounds=[1, 2]", "privacy.training.epsilon=[1.0, 3.0]"'


@pytest.fixture(scope="module")
def drafted(tmp_path_factory):
    return draft(pandas_frames(), tmp_path_factory.mktemp("draft"))[0]


@pytest.fixture
def scenario(drafted, request):
    """The drafted scenario with more tables at its end."""
    more = getattr(request, "param", f"[sweep]\nset = [{GRID}]\n[repeat]\nseeds = [7, 11]\n")
    path = drafted.with_name(f"several-{abs(hash(more))}.toml")
    path.write_text(f"{drafted.read_text()}\n{more}")
    return path


def planned(scenario, out, **options):
    return plan_trials(scenario, out=out, run_id="s", **options)


def pretended(monkeypatch, dies_at: int = 0):
    """Run nothing: leave what a finished run leaves, and let the gate say what follows from it."""
    ran = []

    def run(stage, resumed):
        ran.append((stage.run_dir.name, resumed))
        if len(ran) == dies_at:
            (stage.run_dir / "state.json").write_text("{}")
            raise KeyboardInterrupt
        (stage.run_dir / folder.EVIDENCE).write_text("{}")

    def finished(trial, run_dir):
        value = 0.5 + trial.number / 100
        rule = Rule(
            name="roc_auc_score", topic="people", verdict="pass", sentence="s", evidence="e",
            figure=Measurement(value=value, low=0.4, high=0.9, bar=0.6, direction="at-least"),
        )  # fmt: skip
        return Finished(trial=trial, verdict="pass", rules=(rule,))

    monkeypatch.setattr(trials_module, "finished", finished)
    return run, ran


def test_a_sweep_is_each_combination_with_each_seed(scenario, tmp_path):
    trials = planned(scenario, tmp_path).trials
    assert [
        (t.point["training.rounds"], t.point["privacy.training.epsilon"], t.seed) for t in trials
    ] == [(r, e, s) for r in (1, 2) for e in (1.0, 3.0) for s in (7, 11)]
    assert [t.name for t in trials] == [f"trial-{n:03d}" for n in range(1, 9)]
    assert is_several(scenario, None)


def test_the_cost_is_all_runs_composed_by_the_accountant_of_record(scenario, tmp_path):
    trials = planned(scenario, tmp_path)
    plans = [make_plan(load(scenario, settings=t.all_settings)[1]) for t in trials.trials]
    delta = plans[0].delta
    for name, found in (
        ("training", trials.cost.training),
        ("evaluation", trials.cost.evaluation),
    ):
        events = [event for plan in plans for event in getattr(plan, name).events]
        alone = [getattr(plan, name).epsilon for plan in plans]
        assert found == epsilon(events, delta=delta)
        assert max(alone) < found < sum(alone)
    assert "8 runs" in trials.cost.sentence


@pytest.mark.parametrize("scenario", [f"[sweep]\nset = [{GRID}]\nbudget = 4.0\n"], indirect=True)
def test_a_sweep_above_its_budget_is_not_begun(scenario, tmp_path):
    with pytest.raises(RunError, match=r"more than its budget 4 .4 runs, composed.; nothing was"):
        planned(scenario, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("scenario", "error", "why"),
    [
        ('[sweep]\nset = ["training.rounds=3"]\n', RunError, "needs a list of values"),
        ('[sweep]\nset = ["training.rounds=[1, 0]"]\n', CharterError, "training.rounds"),
        ('[sweep]\nset = ["training.turns=[1, 2]"]\n', CharterError, "unknown key"),
        ("[repeat]\nseeds = [7, 7]\n", RunError, "one is listed twice"),
        (
            '[repeat]\nseeds = [7]\n[sweep]\nset = ["adapter.seed=[1, 2]"]\n',
            RunError,
            "adapter.seed: set for every trial and by",
        ),
    ],
    indirect=["scenario"],
)
def test_what_is_no_sweep_is_refused_before_it_begins(scenario, error, why, tmp_path):
    with pytest.raises(error, match=why):
        planned(scenario, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_key_of_the_grid_cannot_be_set_for_all_runs_as_well(scenario, tmp_path):
    with pytest.raises(RunError, match=r"training\.rounds: set for every trial"):
        planned(scenario, tmp_path, settings={"training.rounds": 2})


def test_an_interrupted_sweep_goes_on_with_the_run_that_it_died_in(scenario, tmp_path, monkeypatch):
    run, ran = pretended(monkeypatch, dies_at=3)
    with pytest.raises(KeyboardInterrupt):
        planned(scenario, tmp_path).run(data=tmp_path, runner=run)
    assert ran == [("trial-001", False), ("trial-002", False), ("trial-003", False)]
    ran.clear()
    (tmp_path / "s" / "trial-004").mkdir()  # died while its homes were made
    run, ran = pretended(monkeypatch)
    again = planned(scenario, tmp_path, resume=tmp_path / "s")
    again.run(data=tmp_path, runner=run)
    assert ran == [("trial-003", True), *((f"trial-00{n}", False) for n in range(4, 9))]
    lines = list(csv.DictReader((tmp_path / "s" / "trials.csv").open()))
    assert [line["seed"] for line in lines] == ["7", "11"] * 4
    assert math.isclose(float(lines[4]["roc_auc_score value"]), 0.55)
    page = (tmp_path / "s" / "trials.html").read_text()
    # The mean of 0.51 and 0.52, of the first point's two seeds.
    assert "0.515 (sd 0.007, 0.510 to 0.520, 2 runs)" in page
    assert "Were these records real" in page and "<svg" in page


def test_a_sweep_that_is_resumed_must_be_the_same_one(scenario, tmp_path):
    planned(scenario, tmp_path)
    with pytest.raises(RunError, match="holds other trials"):
        planned(scenario, tmp_path, resume=tmp_path / "s", settings={"training.local-steps": 3})
    with pytest.raises(RunError, match="exists already"):
        planned(scenario, tmp_path)


def test_each_run_has_its_settings_and_seed_and_says_so(scenario, tmp_path, monkeypatch):
    run, _ = pretended(monkeypatch)
    planned(scenario, tmp_path, settings={"training.local-steps": 3}).run(data=tmp_path, runner=run)
    sweep = fedethics.Sweep(tmp_path / "s")
    charters = [
        fedethics.load_charter(one.path / "coordinator" / "charter.json") for one in sweep.runs
    ]
    assert [c.adapter.seed for c in charters] == [7, 11] * 4
    assert {c.training.local_steps for c in charters} == {3}
    assert [c.training.rounds for c in charters] == [1] * 4 + [2] * 4


def test_one_run_of_such_a_scenario_is_refused_where_only_one_is_made(scenario, tmp_path):
    with pytest.raises(RunError, match="asks for several runs"):
        staged(scenario, out=tmp_path, run_id="r", resume=None, data=tmp_path)
    with pytest.raises(RunError, match="asks for several runs"):
        fedethics.simulate(scenario, out=tmp_path)


def test_python_sets_keys_of_the_charter_as_the_option_does(drafted, tmp_path):
    with pytest.raises(CharterError, match=r"training\.rounds: must be at least 1"):
        fedethics.simulate(drafted, out=tmp_path, set={"training.rounds": 0})
