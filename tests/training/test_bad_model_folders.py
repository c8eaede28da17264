"""Whatever a model's folder holds, a command ends in one clear error and never in a traceback."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer
from typer.testing import CliRunner

from fedethics.charter.document import encode
from fedethics.cli.main import app
from fedethics.errors import EXIT_INTEGRITY, ModelError
from fedethics.training.learner import Learner
from tests.training.tiny_models import charter_for, save_tiny

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("sound"), "bert")


@pytest.fixture
def folder(sound, tmp_path):
    shutil.copytree(sound, tmp_path / "model")
    return tmp_path / "model"


def charter_of(folder, sound):
    """The charter that names whatever weights lie in the folder."""
    charter = charter_for(sound, "bert")
    weights = folder / WEIGHTS
    if not weights.is_file():
        return charter
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    return dataclasses.replace(charter, model=dataclasses.replace(charter.model, sha256=digest))


def weights(folder, change):
    tensors = load_file(folder / WEIGHTS)
    save_file(change(tensors), folder / WEIGHTS, metadata={"format": "pt"})


def config(folder, **changes):
    path = folder / "config.json"
    said = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in said.items() if value != "gone"}))


def tokenizer(folder, change):
    raw = Tokenizer.from_file(str(folder / "tokenizer.json"))
    change(raw)
    raw.save(str(folder / "tokenizer.json"))


def special_id(folder, number):
    path = folder / "tokenizer.json"
    said = json.loads(path.read_text())
    said["post_processor"]["special_tokens"]["[CLS]"]["ids"] = [number]
    path.write_text(json.dumps(said))


def emptied(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def only_bin(folder):
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def loop(folder, name):
    (folder / name).unlink()
    (folder / name).symlink_to(folder / name)


def index(folder, text):
    (folder / WEIGHTS).rename(folder / "model-00001-of-00001.safetensors")
    (folder / f"{WEIGHTS}.index.json").write_text(text)


def cut(folder, keep):
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:keep])


def head(folder, labels):
    fresh = {"classifier.weight": torch.zeros(labels, 32), "classifier.bias": torch.zeros(labels)}
    weights(folder, lambda t: {f"bert.{name}": value for name, value in t.items()} | fresh)


def one_nan(tensors):
    tensors["encoder.layer.0.output.dense.weight"][0, 0] = float("nan")
    return tensors


def twelve_positions(tensors):
    return tensors | {"embeddings.position_embeddings.weight": torch.zeros(12, 32)}


BAD = {
    "an empty folder": (emptied, WEIGHTS),
    "no folder": (lambda f: shutil.rmtree(f), WEIGHTS),
    "a pickle in place of the weights": (only_bin, WEIGHTS),
    "weights that loop": (lambda f: loop(f, WEIGHTS), WEIGHTS),
    "a configuration that loops": (lambda f: loop(f, "config.json"), "config.json"),
    "a tokenizer that loops": (lambda f: loop(f, "tokenizer.json"), "tokenizer.json"),
    "weights cut in the middle": (lambda f: cut(f, 5000), "not a model for"),
    "weights cut in the header": (lambda f: cut(f, 5), "not a model for"),
    "weights of no length": (lambda f: cut(f, 0), "not a model for"),
    "a head for three labels": (lambda f: head(f, 3), "a head for other labels"),
    "a number that is none": (lambda f: weights(f, one_nan), "not finite"),
    "a smaller vocabulary": (lambda f: config(f, vocab_size=20), "belong together"),
    "another width": (lambda f: config(f, hidden_size=16), "belong together"),
    "heads that do not divide": (lambda f: config(f, num_attention_heads=5), "not a model"),
    "no configuration": (lambda f: (f / "config.json").unlink(), "config.json"),
    "a configuration that is no JSON": (lambda f: (f / "config.json").write_text("{"), "not JSON"),
    "a configuration that is a list": (
        lambda f: (f / "config.json").write_text("[]"), "not hold a table"
    ),
    "a configuration in another encoding": (
        lambda f: (f / "config.json").write_bytes(b"\xff\xfe"), "not JSON"
    ),
    "an unknown kind": (lambda f: config(f, model_type="unheard-of"), "not a model for"),
    "no kind": (lambda f: config(f, model_type="gone"), "not a model for"),
    "code of its own": (
        lambda f: config(f, model_type="own", auto_map={"AutoConfig": "evil.Config"}),
        "not a model for",
    ),
    "a type that is wrong": (lambda f: config(f, num_hidden_layers="three"), "not a model for"),
    "layers without weights": (lambda f: config(f, num_hidden_layers=5), "lacks weights"),
    "an encoder with a decoder": (lambda f: config(f, model_type="t5"), "."),
    "quantised on loading": (
        lambda f: config(f, quantization_config={"quant_method": "bitsandbytes"}),
        "quantization_config",
    ),
    "too few positions": (
        lambda f: (config(f, max_position_embeddings=12), weights(f, twelve_positions)),
        "texts of up to 12 tokens",
    ),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "no tokenizer.json"),
    "a tokenizer that is no JSON": (
        lambda f: (f / "tokenizer.json").write_text("x"), "no tokenizer could be read"
    ),
    "a tokenizer of another model": (
        lambda f: tokenizer(f, lambda raw: raw.add_tokens([AddedToken("more")])),
        "embeddings for 0 to 26",
    ),
    "a mark beyond the embedding": (lambda f: special_id(f, 4000), "token id 4000"),
    "a mark below zero": (lambda f: special_id(f, -1), "tokenizer"),
    "settings that are no JSON": (
        lambda f: (f / "tokenizer_config.json").write_text("{"), "tokenizer_config.json is not JSON"
    ),
    "an index that is no JSON": (lambda f: index(f, "{"), "does not say which part"),
    "an index without a map": (lambda f: index(f, "{}"), "does not say which part"),
    "an index that is a list": (lambda f: index(f, "[1]"), "does not say which part"),
    "an adapter beside the weights": (
        lambda f: (f / "adapter_config.json").write_text("{}"), "no hash covers it"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_folder_is_one_clear_error(sound, folder, name):
    spoil, said = BAD[name]
    spoil(folder)
    with pytest.raises(ModelError, match=said) as caught:
        Learner(charter_of(folder, sound), model_dir=folder)
    assert "Traceback" not in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize("name", ["a head for three labels", "a mark beyond the embedding",
                                  "weights cut in the middle", "no folder"])  # fmt: skip
def test_dp_check_reports_a_bad_folder_and_exits_with_the_code_of_failed_checks(
    sound, folder, tmp_path, name
):
    BAD[name][0](folder)
    path = tmp_path / "charter.json"
    path.write_bytes(encode(charter_of(folder, sound)))
    done = CliRunner().invoke(app, ["dp-check", str(path), "--model-dir", str(folder), "--json"])
    (only,) = json.loads(done.output)["checks"]
    assert (done.exit_code, only["passed"]) == (EXIT_INTEGRITY, False)
    assert only["detail"].startswith("[FE")


def test_what_breaks_inside_a_check_is_a_failed_check(sound, folder, tmp_path, monkeypatch):
    from fedethics.training import check

    def broken(bench):
        raise RuntimeError("out of memory\nat 0x7f")

    monkeypatch.setitem(check._CHECKS, "accountants", broken)
    path = tmp_path / "charter.json"
    path.write_bytes(encode(charter_of(folder, sound)))
    done = CliRunner().invoke(app, ["dp-check", str(path), "--model-dir", str(folder), "--json"])
    failed = [one for one in json.loads(done.output)["checks"] if not one["passed"]]
    assert done.exit_code == EXIT_INTEGRITY
    assert [(one["name"], one["detail"]) for one in failed] == [
        ("accountants", "opacus: RuntimeError: out of memory")
    ]
