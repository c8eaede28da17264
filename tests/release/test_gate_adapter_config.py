"""The gate holds adapter_config.json to the charter, and verify lets no file lie beside it."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from fedethics.charter.training_terms import ModelTerms
from fedethics.errors import ApprovalRefused
from fedethics.release import evidence, folder, manifest
from fedethics.release.approve import approve
from fedethics.release.rules.adapter import adapter_config as adapter_rule
from fedethics.release.verification import verify
from tests.release.conftest import adapter_bytes, adapter_config, config_text, lay_out, tensors

Q = "base_model.model.bert.encoder.layer.5.attention.self.query"
HEAD = "base_model.model.classifier.weight"
RULE = "the adapter is applied as agreed"


@pytest.fixture(scope="module")
def opened(stage, heart, tmp_path_factory):
    """One release, opened once, for properties that try many files in it."""
    return folder.load(lay_out(tmp_path_factory.mktemp("once"), stage, heart))


def _rule(run):
    found = adapter_rule(folder.load(run))
    assert found.name == RULE
    return found


def _say(run, config):
    folder.located(run, folder.ADAPTER_CONFIG).write_text(config_text(config))


def _hold(run, held, *, metadata=("format", "pt")):
    data = save(held, metadata=dict([metadata]) if metadata else None)
    folder.located(run, folder.ADAPTER).write_bytes(data)


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
        ("layers_pattern", None),
        ("layers_pattern", ""),
        ("layers_pattern", "h"),
        ("layers_pattern", "self"),
        ("layers_pattern", ["layer"]),
        ("fan_in_fan_out", True),
        ("fan_in_fan_out", 0),
        ("fan_in_fan_out", None),
        ("peft_version", "0.22.0"),
        ("peft_version", "0.21.٣"),
        ("peft_version", None),
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


def _values():
    """Values of every JSON type, near and far from what a key may say."""
    return (
        None, True, False, 0, 1, -1, 8, 10**30, 0.5, "", "x", "layer", "self", ".*", "LORA",
        [], ["query"], ["classifier", "bert"], {}, {"query": 1}, [[]],
    )  # fmt: skip


def test_no_key_of_pefts_configuration_is_free(stage, heart, lay):
    run, good = lay(stage, heart), adapter_config(stage.charter)
    opened, allowed = folder.load(run), {}
    for key in (*good, *_keys_of_peft()):
        for value in _values():
            same = key in good and value == good[key]
            if same and isinstance(value, bool) == isinstance(good[key], bool):
                continue
            _say(run, good | {key: value})
            if adapter_rule(opened).verdict == "pass":
                allowed.setdefault(key, []).append(value)
    assert allowed == {}


def _keys_of_peft():
    """The fields of the installed LoraConfig, read from its source: peft itself needs torch."""
    found = importlib.util.find_spec("peft")
    source = Path(found.submodule_search_locations[0], "tuners", "lora", "config.py").read_text()
    body = source[source.index("class LoraConfig(") :]
    return set(re.findall(r"^    (\w+): .*= field", body, re.M))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t | {"base_model.model.bert.pooler.weight": t[HEAD]}, "whole"),
        (lambda t: t | {"extra": t[HEAD]}, "no tensor of an adapter"),
        (lambda t: t | {f"{Q}.lora_C.weight": t[f"{Q}.lora_A.weight"]}, "whole"),
        (lambda t: {k: v for k, v in t.items() if "lora_A" not in k}, "factors of shapes"),
        (lambda t: {k: v for k, v in t.items() if "query" not in k}, "charter names query, value"),
        (lambda t: {k: v for k, v in t.items() if k != HEAD}, "no part"),
        (lambda t: {k.replace("layer.5", "layer.4"): v for k, v in t.items()}, "layers"),
        (lambda t: {k.replace("layer.5", "layers"): v for k, v in t.items()}, "layers"),
        (lambda t: {k: np.ones((9, 9), np.float32) for k in t}, "rank is 8"),
        (lambda t: t | {f"{Q}.lora_A.weight": t[f"{Q}.lora_A.weight"].T}, "rank is 8"),
        (lambda t: {k: v.astype(np.float16) for k, v in t.items()}, "none that training writes"),
        (lambda t: t | {HEAD: np.ones((2, 4, 1), np.float32)}, "none that training writes"),
        (lambda t: {}, "factors for nothing"),
    ],
)
def test_a_file_with_other_tensors_than_the_charter_implies_fails(stage, heart, lay, change, told):
    run = lay(stage, heart)
    _hold(run, change(tensors(stage.charter)))
    assert _rule(run).verdict == "fail" and told in _rule(run).sentence, _rule(run).sentence


@pytest.mark.parametrize("metadata", [None, ("format", "tf"), ("note", "x")])
def test_a_file_with_other_metadata_fails(stage, heart, lay, metadata):
    run = lay(stage, heart)
    _hold(run, tensors(stage.charter), metadata=metadata)
    assert _rule(run).verdict == "fail" and "metadata" in _rule(run).sentence


def test_bytes_that_the_header_does_not_speak_of_fail(stage, heart, lay):
    run = lay(stage, heart)
    path = folder.located(run, folder.ADAPTER)
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    del header[HEAD]  # the last: its numbers are left without a name
    for spoiled in (
        data + b"\0", data[:-1], data[:20], b"", b"\xff" * 8 + data[8:], _framed(header, data),
        (1 << 40).to_bytes(8, "little") + data[8:], data.replace(b'"F32"', b'"F64"', 1),
    ):  # fmt: skip
        path.write_bytes(spoiled)
        assert _rule(run).verdict == "fail"


def _framed(header, data):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + int.from_bytes(data[:8], "little") :]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(found=st.data())
def test_a_header_with_any_bytes_changed_fails_or_says_what_it_said(stage, opened, found):
    path = folder.located(opened.path, folder.ADAPTER)
    good = adapter_bytes(stage.charter)
    size = 8 + int.from_bytes(good[:8], "little")
    data = bytearray(good)
    for _ in range(found.draw(st.integers(1, 4))):
        data[found.draw(st.integers(0, size - 1))] = found.draw(st.sampled_from(b'019-[]{}",:eE '))
    path.write_bytes(data)
    if adapter_rule(opened).verdict == "pass":
        assert load(bytes(data)).keys() == load(good).keys()


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
    held = tensors(stage.charter)
    held["base_model.model.pre_classifier.weight"] = np.ones((4, 4), np.float32)
    _hold(run, held)
    assert _rule(run).verdict == "pass"


def test_a_causal_model_has_no_head(stage, heart, lay):
    terms = ModelTerms(
        name="m", sha256="ab" * 32, max_tokens=64, task="causal-lm", prompt="Q: {text}",
        answer="{label}",
    )  # fmt: skip
    asked = stage.with_charter(model=terms)
    run = lay(asked, heart)
    assert _rule(run).verdict == "fail"
    causal = {"task_type": "CAUSAL_LM", "modules_to_save": None}
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
