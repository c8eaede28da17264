"""`fedethics track`: the event log's numbers, each once, by round, for three tools."""

from __future__ import annotations

import csv
import importlib.util
import json

import pytest

from fedethics.errors import RunError, SetupError
from fedethics.release.gate import examine
from fedethics.tracking import find_tracker, recorded, register, tracker_names, trackers
from fedethics.tracking.trackers import Csv
from tests.cli.conftest import fedethics  # noqa: F401  fixture
from tests.release.test_run_log import TWO_ROUNDS, log


@pytest.fixture
def closed(release):
    """A finished run with a log of two rounds."""
    log(release, *TWO_ROUNDS, (90, "closed", {"verdict": "pass"}))
    return release


def numbers(run):
    return {(one.step, one.name): one.value for one in recorded(run).scalars}


def test_rounds_and_measurements_are_told_with_their_round(closed):
    found = numbers(closed)
    assert found[1, "round/sites"] == 3 and found[1, "round/sites-lost"] == 0
    assert found[2, "round/sites"] == 2 and found[2, "round/sites-lost"] == 1
    assert (found[1, "round/seconds"], found[2, "round/seconds"]) == (20, 40)
    assert found[1, "held-out/accuracy"] == 0.7
    assert (found[1, "held-out/accuracy-low"], found[1, "held-out/accuracy-high"]) == (0.6, 0.8)
    assert not any(name.startswith("simulated-only/") for _, name in found)


def test_objectives_are_the_gates_own_figures(closed):
    found, step = numbers(closed), recorded(closed)
    rounds = int(step.settings["training.rounds"])
    rules = [rule for rule in examine(closed).rules if rule.topic == "people" and rule.figure]
    assert rules
    for rule in rules:
        if rule.figure.value is not None:
            assert found[rounds, f"objective/{rule.name}"] == rule.figure.value
        assert found[rounds, f"objective/{rule.name}-bar"] == rule.figure.bar
    assert step.tags["verdict"] == "pass"
    assert step.settings["privacy.training.clipping-norm"] == "1.0"


def test_what_only_a_simulation_sees_is_named_so(closed):
    row = {"round": 1, "loss": 0.4, "clipped-share": 0.25, "note": "..."}
    (closed / "simulated.jsonl").write_text(json.dumps(row) + "\n")
    found = numbers(closed)
    assert found[1, "simulated-only/loss"] == 0.4
    assert found[1, "simulated-only/clipped-share"] == 0.25
    assert (1, "simulated-only/note") not in found


def test_a_csv_file_has_a_line_for_each_number_and_is_the_same_again(closed, tmp_path, fedethics):  # noqa: F811
    done = fedethics("track", closed, "--out", tmp_path / "t")
    assert done.exit_code == 0, done.output
    (path,) = (tmp_path / "t").iterdir()
    lines = list(csv.DictReader(path.open()))
    assert {(int(x["round"]), x["name"]): float(x["value"]) for x in lines} == numbers(closed)
    before = path.read_bytes()
    fedethics("track", closed, "--out", tmp_path / "t")
    assert path.read_bytes() == before


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="no event log"):
        recorded(tmp_path)


def test_trackers_are_found_by_name():
    assert tracker_names() == ("csv", "tensorboard", "mlflow")
    with pytest.raises(RunError, match="known: csv, tensorboard, mlflow"):
        find_tracker("wandb")
    with pytest.raises(RunError, match="registered twice"):
        register(Csv())


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_a_tool_that_is_not_installed_is_one_error_and_nothing_is_written(
    closed, tmp_path, monkeypatch, name
):
    def absent(module):
        raise ImportError(f"No module named {module!r}")

    monkeypatch.setattr(trackers.importlib, "import_module", absent)
    with pytest.raises(SetupError, match=r"fedethics\[tracking\]"):
        find_tracker(name).write(recorded(closed), str(tmp_path / "t"))
    assert not (tmp_path / "t").exists()


@pytest.mark.skipif(not importlib.util.find_spec("tensorboard"), reason="an extra")
def test_tensorboard_reads_back_each_number_once(closed, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):
        where = find_tracker("tensorboard").write(recorded(closed), str(tmp_path))
    read = EventAccumulator(where)
    read.Reload()
    found = {
        (event.step, name): event.value
        for name in read.Tags()["scalars"]
        for event in read.Scalars(name)
    }
    assert found == pytest.approx(numbers(closed), rel=1e-6)
    assert all(len(read.Scalars(name)) <= 4 for name in read.Tags()["scalars"])


@pytest.mark.skipif(not importlib.util.find_spec("mlflow"), reason="an extra")
def test_mlflow_reads_back_numbers_settings_and_verdict(closed, tmp_path):
    find_tracker("mlflow").write(recorded(closed), str(tmp_path / "runs"))
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=(tmp_path / "runs").as_uri())
    experiment = client.get_experiment_by_name("fedethics").experiment_id
    (run,) = client.search_runs([experiment])
    assert run.data.tags["verdict"] == "pass"
    assert run.data.params["adapter.form"] == recorded(closed).settings["adapter.form"]
    history = client.get_metric_history(run.info.run_id, "round/seconds")
    assert [(one.step, one.value) for one in history] == [(1, 20.0), (2, 40.0)]
