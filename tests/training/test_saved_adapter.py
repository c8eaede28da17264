"""An adapter read back from a release's file is the one that was written, or is refused."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from fedethics.errors import ModelError
from fedethics.training.locate import ADAPTER_FILE
from fedethics.training.saved_adapter import read_adapter


@pytest.fixture
def saved(tiny, tmp_path):
    learner = tiny()
    rng = np.random.default_rng(4)
    vector = learner.initial_vector() + rng.normal(0, 0.1, learner.size).astype(np.float32)
    learner.save_adapter(vector, tmp_path)
    return learner, vector, tmp_path


def test_what_was_saved_is_what_is_read(saved):
    learner, vector, folder = saved
    assert np.array_equal(read_adapter(learner, folder), vector)


def test_an_adapter_of_another_rank_layer_or_frozen_start_is_refused(saved, tiny):
    _, _, folder = saved
    for other in (tiny(rank=3), tiny(layers=(1,)), tiny(seed=8)):
        with pytest.raises(ModelError, match="not an adapter of this charter"):
            read_adapter(other, folder)


def test_a_frozen_part_that_was_changed_is_refused(saved):
    learner, _, folder = saved
    tensors = load_file(folder / ADAPTER_FILE)
    name = next(name for name in tensors if "lora_A" in name)
    tensors[name] = tensors[name] + 1e-3
    save_file(tensors, folder / ADAPTER_FILE, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="not an adapter of this charter"):
        read_adapter(learner, folder)


def test_a_missing_or_damaged_file_is_refused(saved):
    learner, _, folder = saved
    (folder / ADAPTER_FILE).write_bytes(b"not tensors")
    with pytest.raises(ModelError, match="not a safetensors file"):
        read_adapter(learner, folder)
    (folder / ADAPTER_FILE).unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        read_adapter(learner, folder)
