"""Temporary folders of tests lie in memory where there is room and nobody chose a place."""

from __future__ import annotations

import os
import tempfile

import pytest

from tests import memory_disk


@pytest.fixture
def unchosen(monkeypatch):
    for name in ("TMPDIR", "PYTEST_DEBUG_TEMPROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", None)


def test_folders_of_this_process_and_its_children_are_made_there(tmp_path, unchosen, monkeypatch):
    # So that leaving the test restores it.
    monkeypatch.setenv("TMPDIR", "")
    del os.environ["TMPDIR"]
    assert memory_disk.take(tmp_path, room=1)
    with tempfile.TemporaryDirectory() as folder:
        assert os.path.dirname(folder) == str(tmp_path)
    assert os.environ["TMPDIR"] == str(tmp_path)


@pytest.mark.parametrize("name", ["TMPDIR", "PYTEST_DEBUG_TEMPROOT"])
def test_a_chosen_place_stays(name, tmp_path, unchosen, monkeypatch):
    monkeypatch.setenv(name, "/elsewhere")
    assert not memory_disk.take(tmp_path, room=1)


def test_a_folder_that_is_missing_or_too_small_is_not_taken(tmp_path, unchosen):
    assert not memory_disk.take(tmp_path / "none", room=1)
    assert not memory_disk.take(tmp_path, room=2**60)
    assert "TMPDIR" not in os.environ
