"""What the gate can conclude is shown by a simulation and by a coordinator before they begin."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fedethics.cli.federation import _foresee
from fedethics.simulation import foreseen, staging
from fedethics.simulation.scenario import load
from simulations.datasets.__main__ import DATASETS, ROOT

CONFIGS = Path(__file__).parents[2] / "configs"


def test_the_demo_says_before_it_begins_that_it_cannot_conclude_why_and_what_would(
    tmp_path, capsys
):
    if not DATASETS["heart"].is_there(ROOT / "heart"):
        pytest.skip("data set heart is absent: python -m simulations.datasets fetch heart")
    scenario, draft = load(CONFIGS / "heart.toml")
    stage = staging.build(
        scenario, draft, base=CONFIGS, data_dir=ROOT / "heart", run_dir=tmp_path / "run"
    )
    said = foreseen.verdicts(stage)
    assert said[0].startswith("With 257 held-out records") and "about 0%" in said[0]
    (missed,) = [one for one in said if "equal_opportunity_difference" in one]
    assert re.search(r"No epsilon would do with these records; about [23],\d00 records", missed)
    assert said[1] == "Can be decided: accuracy_score."

    # The coordinator knows what sites declare, and says what it supposed of the rest.
    capsys.readouterr()
    _foresee(stage.charter, log_json=True)
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {one["event"] for one in told} == {"verdicts foreseen"}
    assert "passes all objectives" in told[0]["sentence"]
    assert "groups of sex of equal size" in told[-1]["sentence"]
