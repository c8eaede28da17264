"""A second charter starts from what the first one released, on the site's own model folder."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import tomllib

import numpy as np
import pytest

from fedethics.charter.ethics_terms import ExplanationTerms
from fedethics.charter.privacy_terms import AuditTerms
from fedethics.simulation import staging
from fedethics.simulation.federation import run_federation
from fedethics.simulation.scenario import load
from tests.e2e.conftest import ROOT
from tests.training.conftest import tiny_charter, tiny_folder  # noqa: F401  fixtures


@pytest.mark.slow
def test_training_goes_on_where_the_release_ended(
    heart_data,
    tmp_path,
    tiny_charter,  # noqa: F811
    tiny_folder,  # noqa: F811
):
    scenario, heart = load(ROOT / "configs" / "heart.toml")
    tiny = tiny_charter()
    draft = dataclasses.replace(
        heart, model=tiny.model, adapter=tiny.adapter,
        training=dataclasses.replace(heart.training, rounds=1, local_steps=1),
        privacy=dataclasses.replace(heart.privacy, audit=AuditTerms()),
        ethics=dataclasses.replace(heart.ethics, explanation=ExplanationTerms()),
    )  # fmt: skip

    def run(name, charter, **folders):
        setup = dataclasses.replace(scenario, model_dir=str(tiny_folder), **folders)
        stage = staging.build(
            setup, charter, base=ROOT / "configs", data_dir=heart_data, run_dir=tmp_path / name
        )
        return run_federation(stage)

    first = run("first", draft)
    # As an approval does; the gate of so small a run cannot conclude.
    shutil.copytree(first / "withheld" / "adapter", first / "adapter")
    released = (first / "adapter" / "adapter_model.safetensors").read_bytes()
    agreed = hashlib.sha256(released).hexdigest()
    adapter = dataclasses.replace(draft.adapter, from_=agreed)
    second = run("second", dataclasses.replace(draft, adapter=adapter), start_dir=str(first))

    ended = np.frombuffer((first / "rounds" / "adapter-0001.f32").read_bytes(), dtype="<f4")
    after = np.frombuffer((second / "rounds" / "adapter-0001.f32").read_bytes(), dtype="<f4")
    moved = np.linalg.norm(after - ended)
    assert 0 < moved < np.linalg.norm(after)
    site = next((second / "sites").iterdir())
    assert tomllib.loads((site / "site.toml").read_text())["start-dir"] == str(first)
    assert json.loads((second / "charter.json").read_bytes())["adapter"]["from"] == agreed
