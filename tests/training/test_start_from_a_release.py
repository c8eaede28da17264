"""A charter that starts from a released adapter: the agreed file on the same base, or nothing."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil

import numpy as np
import pytest

from fedethics.charter import document
from fedethics.charter.model import Charter
from fedethics.errors import ModelError
from fedethics.training.learner import Learner
from fedethics.training.locate import ADAPTER_FILE


@pytest.fixture
def release(tiny, tiny_charter, moved, tmp_path):
    """A release of a trained adapter, its charter beside it, and the vector in it."""
    learner = tiny()
    vector = moved(learner)
    learner.save_adapter(vector, tmp_path / "adapter")
    (tmp_path / "charter.json").write_bytes(document.encode(tiny_charter()))
    return tmp_path, vector


def starting(charter: Charter, sha256: str, **changes) -> Charter:
    adapter = dataclasses.replace(charter.adapter, from_=sha256, **changes)
    return dataclasses.replace(charter, adapter=adapter)


def agreed(folder) -> str:
    return hashlib.sha256((folder / "adapter" / ADAPTER_FILE).read_bytes()).hexdigest()


def test_training_starts_at_the_released_numbers(release, tiny_charter, tiny_folder, texts):
    folder, vector = release
    charter = starting(tiny_charter(), agreed(folder))
    learner = Learner(charter, model_dir=tiny_folder, start_dir=folder)
    assert learner.initial_vector().tobytes() == vector.tobytes()
    plain = Learner(tiny_charter(), model_dir=tiny_folder)
    assert learner.basis_hash == plain.basis_hash
    np.testing.assert_array_equal(
        learner.scores(learner.initial_vector(), learner.activations(texts)),
        plain.scores(vector, plain.activations(texts)),
    )


def test_the_key_is_from_and_its_absence_changes_no_charter(tiny_charter):
    charter = tiny_charter()
    assert b'"from"' not in document.encode(charter)
    started = starting(charter, "ab" * 32)
    assert b'"from":"abab' in document.encode(started)
    assert document.parse(document.encode(started)).adapter.from_ == "ab" * 32


def test_without_the_release_nothing_is_trained_but_scores_are_computed(
    release, tiny_charter, tiny_folder, texts
):
    folder, vector = release
    learner = Learner(starting(tiny_charter(), agreed(folder)), model_dir=tiny_folder)
    assert len(learner.scores(vector, learner.activations(texts))) == len(texts)
    with pytest.raises(ModelError, match=r"starts from the released adapter .* set start-dir"):
        learner.initial_vector()


def _withheld(folder):
    (folder / "withheld").mkdir()
    shutil.move(folder / "adapter", folder / "withheld" / "adapter")


def _withdrawn(folder):
    """A copy into which somebody put the note, as docs/after-release.md says."""
    (folder / "withdrawal.json").write_bytes(b"{}")


def _altered(folder):
    path = folder / "adapter" / ADAPTER_FILE
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")


def _absent(folder):
    (folder / "adapter" / ADAPTER_FILE).unlink()


def _a_pipe(folder):
    path = folder / "adapter" / ADAPTER_FILE
    path.unlink()
    os.mkfifo(path)


def _of_another_base(folder):
    charter = document.parse((folder / "charter.json").read_bytes())
    model = dataclasses.replace(charter.model, sha256="0" * 64)
    other = dataclasses.replace(charter, model=model)
    (folder / "charter.json").write_bytes(document.encode(other))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_withheld, "is withheld, not released"),
        (_withdrawn, "its adapter was taken back"),
        (_altered, "has SHA-256 .* but the charter agreed on"),
        (_absent, "No such file"),
        (_a_pipe, "is no ordinary file"),
        (_of_another_base, "an adapter works on its own base only"),
    ],
)
def test_another_file_is_refused_by_name(release, tiny_charter, tiny_folder, spoil, said):
    folder, _ = release
    charter = starting(tiny_charter(), agreed(folder))
    spoil(folder)
    with pytest.raises(ModelError, match=said):
        Learner(charter, model_dir=tiny_folder, start_dir=folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rank": 4}, "does not fit this charter"),
        ({"seed": 8}, "does not fit this charter"),
        ({"alpha": 8.0}, "trained with adapter.alpha 4, but this charter says 8"),
    ],
)
def test_other_factors_are_refused(release, tiny_charter, tiny_folder, changes, said):
    folder, _ = release
    charter = starting(tiny_charter(), agreed(folder), **changes)
    with pytest.raises(ModelError, match=said):
        Learner(charter, model_dir=tiny_folder, start_dir=folder)


def test_another_adapter_of_the_same_size_and_time_is_refused(
    release, tiny, tiny_charter, tiny_folder
):
    folder, vector = release
    charter = starting(tiny_charter(), agreed(folder))
    Learner(charter, model_dir=tiny_folder, start_dir=folder)  # this process knows the file's hash
    path = folder / "adapter" / ADAPTER_FILE
    before = path.stat()
    tiny().save_adapter(vector[::-1].copy(), folder / "adapter")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    with pytest.raises(ModelError, match="is not the one that the charter agreed on"):
        Learner(charter, model_dir=tiny_folder, start_dir=folder)
