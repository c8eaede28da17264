"""A repetition run twice with fixed noise: the same adapters and the same table, byte for byte."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from fedethics.simulation.trials import plan_trials
from tests import small_encoder

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def _scenario(folder: Path) -> Path:
    """The demo with seeds, and with fixed noise, which its sites must allow."""
    folder.mkdir()
    shutil.copy(CONFIGS / "heart.charter.toml", folder)
    policy = (CONFIGS / "policy.hospital.toml").read_text()
    policy = policy.replace("[minimum]", "without-dp = false\nfixed-noise = true\n\n[minimum]")
    (folder / "policy.hospital.toml").write_text(policy)
    path = folder / "heart.toml"
    first, tables = (CONFIGS / "heart.toml").read_text().split("[[sites]]", 1)
    path.write_text(f'{first}test-noise-seed = "9"\n[repeat]\nseeds = [7, 11]\n[[sites]]{tables}')
    return path


@pytest.mark.slow
def test_equal_settings_and_seeds_give_equal_bytes_and_other_seeds_others(
    tmp_path, heart_data, encoder
):
    scenario = _scenario(tmp_path / "scenario")
    adapter = small_encoder.ADAPTER
    settings = {
        "model.name": encoder.name,
        "model.sha256": encoder.sha256,
        "adapter.rank": adapter.rank,
        "adapter.layers": list(adapter.layers),
        "training.rounds": 2,
        "privacy.audit.attack": "none",
        "ethics.explanation.columns": [],
        "ethics.explanation.swap": [],
    }
    adapters, tables = [], []
    for name in ("once", "again"):
        trials = plan_trials(scenario, out=tmp_path / name, run_id="s", settings=settings)
        found = trials.run(data=heart_data.parent)
        assert len(found) == 2
        adapters.append(
            [
                (trials.path / one.name / "rounds" / "adapter-0002.f32").read_bytes()
                for one in trials.trials
            ]
        )
        tables.append((trials.path / "trials.csv").read_bytes())
    assert adapters[0] == adapters[1]
    assert tables[0] == tables[1]
    assert adapters[0][0] != adapters[0][1]
    lines = list(csv.DictReader((tmp_path / "once" / "s" / "trials.csv").open()))
    assert [line["seed"] for line in lines] == ["7", "11"]
    assert lines[0]["roc_auc_score value"] != lines[1]["roc_auc_score value"]
