"""The gate holds adapter_config.json to the charter, and verify lets no file lie beside it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from safetensors.numpy import save_file

from fedethics.charter.training_terms import ModelTerms
from fedethics.errors import ApprovalRefused
from fedethics.release import evidence, folder, gate, manifest
from fedethics.release.approve import approve
from fedethics.release.verification import verify
from tests.release.conftest import TENSORS, adapter_config, config_text

RULE = "the adapter is applied as agreed"


def _rule(run):
    (found,) = [rule for rule in gate.examine(run).rules if rule.name == RULE]
    return found


def _say(run, config):
    folder.located(run, folder.ADAPTER_CONFIG).write_text(config_text(config))


def _problems(run):
    return {check.name: check.problems for check in verify(run) if check.problems}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lora_alpha", 999999),
        ("r", 16),
        ("r", True),
        ("target_modules", ["query"]),
        ("target_modules", "query|value"),
        ("layers_to_transform", None),
        ("layers_pattern", ".*"),
        ("task_type", "CAUSAL_LM"),
        ("peft_type", "IA3"),
        ("bias", "all"),
        ("base_model_name_or_path", "https://elsewhere/model"),
        ("auto_mapping", {"parent_library": "modeling_x", "base_model_class": "X"}),
        ("modules_to_save", ["classifier", "encoder"]),
        ("modules_to_save", ["classifier", "score"]),
        ("modules_to_save", ["classifier", "classifier"]),
        ("modules_to_save", []),
        ("modules_to_save", None),
        ("use_dora", True),
        ("use_rslora", True),
        ("rank_pattern", {"query": 1}),
        ("alpha_pattern", {"query": 1}),
        ("fan_in_fan_out", "yes"),
        ("megatron_core", "modeling_x"),
        ("init_lora_weights", "loftq"),
        ("a_flag_of_tomorrow", None),
    ],
)
def test_a_configuration_that_the_charter_does_not_imply_fails(stage, heart, lay, key, value):
    run = lay(stage, heart)
    assert _rule(run).verdict == "pass"
    _say(run, adapter_config(stage.charter) | {key: value})
    assert _rule(run).verdict == "fail" and key in _rule(run).sentence


@pytest.mark.parametrize("key", ["r", "lora_alpha", "target_modules", "modules_to_save"])
def test_a_configuration_that_leaves_out_what_was_agreed_fails(stage, heart, lay, key):
    run = lay(stage, heart)
    said = adapter_config(stage.charter)
    del said[key]
    _say(run, said)
    assert _rule(run).verdict == "fail" and key in _rule(run).sentence


def test_a_key_written_twice_fails(stage, heart, lay):
    run = lay(stage, heart)
    path = folder.located(run, folder.ADAPTER_CONFIG)
    path.write_text(path.read_text().replace("{\n", '{\n  "r": 64,\n', 1))
    assert "not in the form" in _rule(run).sentence


@pytest.mark.parametrize("text", ["", "[]\n", "{}\n", "[" * 100_000])
def test_what_is_no_configuration_fails(stage, heart, lay, text):
    run = lay(stage, heart)
    folder.located(run, folder.ADAPTER_CONFIG).write_text(text)
    assert _rule(run).verdict == "fail"


def test_a_missing_configuration_fails(stage, heart, lay):
    run = lay(stage, heart)
    folder.located(run, folder.ADAPTER_CONFIG).unlink()
    assert _rule(run).verdict == "fail"


def test_another_head_may_be_named_only_if_the_file_holds_it(stage, heart, lay):
    run = lay(stage, heart)
    named = ["classifier", "pre_classifier"]
    _say(run, adapter_config(stage.charter) | {"modules_to_save": named})
    assert _rule(run).verdict == "fail"
    held = TENSORS | {"base_model.model.pre_classifier.weight": np.ones((4, 4), np.float32)}
    save_file(held, folder.located(run, folder.ADAPTER))
    assert _rule(run).verdict == "pass"


def test_a_causal_model_has_no_head(stage, heart, lay):
    terms = ModelTerms(
        name="m", sha256="ab" * 32, max_tokens=64, task="causal-lm", prompt="Q: {text}",
        answer="{label}",
    )  # fmt: skip
    asked = stage.with_charter(model=terms)
    run = lay(asked, heart)
    assert _rule(run).verdict == "fail"
    causal = {"task_type": "CAUSAL_LM", "modules_to_save": None, "fan_in_fan_out": True}
    _say(run, adapter_config(asked.charter) | causal)
    assert _rule(run).verdict == "pass"


def test_a_changed_configuration_is_found_even_with_a_new_manifest(release, stage):
    _say(release, adapter_config(stage.charter) | {"lora_alpha": 999999})
    manifest.write_manifest(release, stage.coordinator)
    assert "verdict follows from the evidence" in _problems(release)


@pytest.mark.parametrize(
    "name",
    [
        "withheld/adapter/adapter_model.bin",
        "withheld/adapter/modeling_x.py",
        "withheld/adapter/more/x.json",
        "withheld/x.py",
    ],
)
def test_a_file_beside_the_adapter_is_found_even_with_a_new_manifest(release, stage, name):
    path = release / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("x")
    manifest.write_manifest(release, stage.coordinator)
    assert name in " ".join(_problems(release)["files are those of the manifest"])
    with pytest.raises(ApprovalRefused, match="does not belong"):
        approve(
            release, stage.coordinator, role="coordinator", reason="r", despite_uncertainty=True
        )


def test_a_link_in_place_of_the_adapter_is_found(release, tmp_path):
    path = release / "withheld/adapter/adapter_model.safetensors"
    moved = path.rename(tmp_path / "elsewhere")
    path.symlink_to(moved)
    assert "adapter_model.safetensors" in " ".join(manifest.verify_manifest(release))


def test_a_file_left_behind_once_the_adapter_is_free_is_found(release, stage):
    key = stage.coordinator
    approve(release, key, role="coordinator", reason="r", despite_uncertainty=True)
    assert _problems(release) == {}
    (release / "withheld").mkdir()
    (release / "withheld/x.bin").write_text("x")
    assert "withheld/x.bin" in " ".join(manifest.verify_manifest(release))


def test_alpha_may_be_written_as_a_whole_number(stage, heart, lay):
    run = lay(stage, heart)
    _say(run, adapter_config(stage.charter) | {"lora_alpha": int(stage.charter.adapter.alpha)})
    assert _rule(run).verdict == "pass"


def test_a_changed_charter_changes_what_the_configuration_may_say(stage, heart, lay):
    run = lay(stage, heart)
    adapter = dataclasses.replace(stage.charter.adapter, rank=stage.charter.adapter.rank * 2)
    other = lay(stage.with_charter(adapter=adapter), dataclasses.replace(heart, run_id="other"))
    assert _rule(other).verdict == "pass"
    config = folder.located(run, folder.ADAPTER_CONFIG).read_bytes()
    folder.located(other, folder.ADAPTER_CONFIG).write_bytes(config)
    assert _rule(other).verdict == "fail"
    assert evidence.load(run / "evidence.json").run_id != "other"
