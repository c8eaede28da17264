"""A model's folder gives the lines that a charter needs, and the learner takes them."""

from __future__ import annotations

import dataclasses
import json
import tomllib

import pytest
from typer.testing import CliRunner

from fedethics.cli.main import app
from fedethics.errors import ModelError
from fedethics.training.described import describe
from fedethics.training.learner import Learner
from tests.training.tiny_models import CONFIGS, REFUSED, charter_for, save_tiny


@pytest.mark.parametrize("family", [one for one in CONFIGS if one not in REFUSED])
def test_what_is_told_of_a_folder_trains_there(family, tmp_path):
    save_tiny(tmp_path, family)
    found = describe(tmp_path)
    charter = charter_for(tmp_path, family, task="classification")
    assert found.sha256 == charter.model.sha256 and found.layers == 3
    assert set(found.targets) <= set(found.linear)
    adapter = dataclasses.replace(charter.adapter, targets=found.targets, layers=(2,))
    learner = Learner(dataclasses.replace(charter, adapter=adapter), model_dir=tmp_path)
    assert learner.size > 0


def test_a_table_of_positions_bounds_the_text(tmp_path):
    save_tiny(tmp_path, "bert")
    assert describe(tmp_path).positions == 40


def test_a_pickle_of_weights_is_refused_with_what_to_do(tmp_path):
    save_tiny(tmp_path, "bert")
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"as a pickle .*save_pretrained"):
        describe(tmp_path)


def test_a_folder_without_a_model_is_one_error(tmp_path):
    with pytest.raises(ModelError, match=r"model\.safetensors cannot be read"):
        describe(tmp_path)


def test_the_command_prints_lines_that_a_charter_takes(tmp_path):
    save_tiny(tmp_path, "llama")
    done = CliRunner().invoke(app, ["model", "hash", str(tmp_path)])
    said, found = tomllib.loads(done.output), describe(tmp_path)
    assert said["model"] == {"name": tmp_path.name, "sha256": found.sha256}
    assert said["adapter"] == {"targets": ["q_proj", "v_proj"], "layers": [2]}
    assert "targets may be any of: down_proj, gate_proj, k_proj" in done.output
    told = json.loads(CliRunner().invoke(app, ["model", "hash", str(tmp_path), "--json"]).output)
    assert told["linear"] == list(found.linear) and told["kind"] == "llama"


def test_all_linear_as_a_target_is_refused_in_one_sentence(tmp_path):
    save_tiny(tmp_path, "llama")
    charter = charter_for(tmp_path, "llama", targets=("all-linear",))
    with pytest.raises(ModelError, match="fedethics model hash"):
        Learner(charter, model_dir=tmp_path)
