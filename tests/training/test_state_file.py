"""Frozen layers' output on disk: the same numbers, a file without a name, nothing left behind."""

import dataclasses
import gc
import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from fedethics.errors import TrainingError
from fedethics.policy.model import Compute
from fedethics.training.activations import states_on_disk
from fedethics.training.dp_sgd import train_round
from fedethics.training.learner import Learner


@pytest.fixture(scope="module")
def learners(tiny_charter, tiny_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    on_disk = Compute(cache="disk", cache_dir=str(folder))
    charter = tiny_charter(form="both", layers=(2,))
    return (
        Learner(charter, model_dir=tiny_folder),
        Learner(charter, model_dir=tiny_folder, compute=on_disk),
    )


def mapped(folder: Path) -> list[str]:
    lines = Path("/proc/self/maps").read_text().splitlines()
    return [line for line in lines if str(folder) in line]


def test_training_from_the_disk_is_training_from_memory_bit_for_bit_and_equals_uncached(
    learners, texts, labels, terms, noise, moved
):
    memory, disk = learners
    kinds = {
        "memory": (memory, memory.activations(texts)),
        "disk": (disk, disk.activations(texts)),
        "uncached": (memory, memory.tokens(texts)),
    }
    updates = {
        name: train_round(
            learner, vector=moved(memory), activations=activations, labels=labels,
            terms=terms(steps=3), noise=noise,
        ).update
        for name, (learner, activations) in kinds.items()
    }  # fmt: skip
    assert np.abs(updates["disk"]).max() > 1e-3
    np.testing.assert_array_equal(updates["disk"], updates["memory"])
    np.testing.assert_allclose(updates["disk"], updates["uncached"], rtol=1e-4, atol=1e-6)
    scores = [learner.scores(moved(memory), on) for learner, on in list(kinds.values())[:2]]
    np.testing.assert_array_equal(*scores)


def test_the_file_has_no_name_is_the_owners_alone_and_goes_with_the_last_tensor(
    learners, texts, monkeypatch
):
    disk = learners[1]
    folder = Path(disk.compute.cache_dir)
    seen = []
    honest = os.posix_fallocate

    def watch(descriptor, start, length):
        state = os.fstat(descriptor)
        seen.append((stat.S_IMODE(state.st_mode), state.st_nlink, length))
        honest(descriptor, start, length)

    monkeypatch.setattr(os, "posix_fallocate", watch)
    activations = disk.activations(texts)
    tokens = sum(len(entry) for entry in activations.hidden)
    assert seen == [(0o600, 0, tokens * 32 * 4)]
    assert list(folder.iterdir()) == []
    assert mapped(folder)
    del activations
    gc.collect()
    assert not mapped(folder)


def test_a_process_that_is_killed_leaves_nothing(tmp_path):
    script = textwrap.dedent(f"""
        import time
        from pathlib import Path
        from fedethics.training.activations import states_on_disk
        (one,) = states_on_disk([1000], 64, Path({str(tmp_path)!r}))
        one.fill_(1.0)
        print("written", flush=True)
        time.sleep(60)
    """)
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline().strip() == "written"
    assert list(tmp_path.iterdir()) == []
    child.send_signal(signal.SIGKILL)
    child.wait(timeout=10)
    child.stdout.close()
    assert list(tmp_path.iterdir()) == []


def test_more_than_the_policy_allows_is_not_cached(tiny_charter, tiny_folder, texts):
    for cache in ("memory", "disk"):
        small = Compute(cache=cache, cache_gib=1e-6)
        learner = Learner(tiny_charter(), model_dir=tiny_folder, compute=small)
        assert not learner.activations(texts).hidden[0].is_floating_point()


def test_a_disk_without_room_or_folder_is_one_clear_error(learners, texts, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "posix_fallocate", full)
        with pytest.raises(TrainingError, match="No space left on device; nothing was computed"):
            learners[1].activations(texts)
    with pytest.raises(TrainingError, match="No such file or directory"):
        states_on_disk([4], 8, tmp_path / "absent")


def test_states_are_float32_and_apart(tmp_path):
    first, second = states_on_disk([2, 3], 4, tmp_path)
    assert (first.shape, second.shape, first.dtype) == ((2, 4), (3, 4), torch.float32)
    second.fill_(1.0)
    assert not first.any()


def test_where_states_lie_is_no_term_of_the_charter(learners):
    memory, disk = learners
    assert dataclasses.replace(memory.compute, cache="disk") != memory.compute
    assert (memory.basis_hash, memory.prefix_hash) == (disk.basis_hash, disk.prefix_hash)
