"""One preset from its data to its report, small: the partition is said wherever results are."""

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console

from fedethics.errors import EXIT_CANNOT_CONCLUDE, EXIT_GATE_FAILED
from fedethics.release import folder, gate
from fedethics.simulation import staging
from fedethics.simulation.federation import simulate
from fedethics.simulation.scenario import data_folder, load
from simulations.datasets.__main__ import DATASETS, ROOT

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.slow
def test_a_preset_runs_to_its_report_and_says_that_its_sites_are_simulated(tmp_path):
    if not DATASETS["compas"].is_there(ROOT / "compas"):
        pytest.skip("data set compas is absent: python -m simulations.datasets fetch compas")
    scenario, draft = load(CONFIGS / "compas.toml")
    scenario = dataclasses.replace(
        scenario,
        partition=dataclasses.replace(scenario.partition, keep=0.2),
        sites=tuple(dataclasses.replace(site, declared_records=200) for site in scenario.sites),
    )
    draft = dataclasses.replace(
        draft, training=dataclasses.replace(draft.training, rounds=2, local_steps=2)
    )
    stage = staging.build(
        scenario,
        draft,
        base=CONFIGS,
        data_dir=data_folder(scenario, ROOT, base=CONFIGS),
        run_dir=tmp_path / "run",
    )
    shown = io.StringIO()
    simulate(Console(file=shown, width=200), stage)

    run = stage.run_dir
    assert gate.examine(run).exit_code in {EXIT_CANNOT_CONCLUDE, EXIT_GATE_FAILED}
    said = "simulated partition into four alike offices by hash"
    assert said in " ".join(shown.getvalue().split())
    assert said in folder.load(run).charter.data.source
    assert said in (run / folder.REPORT).read_text(encoding="utf-8")
    outputs = [path for path in run.glob("*.md") if "COMPAS" in path.read_text(encoding="utf-8")]
    assert outputs
    assert all(said in path.read_text(encoding="utf-8") for path in outputs)
    log = (stage.homes["office-1"] / "log.jsonl").read_text(encoding="utf-8")
    assert '"event": "records read"' in log
