"""A file is whole or absent, and its name is as durable as its bytes."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from fedethics.storage import files

CALLS = ("open", "fsync", "chmod", "replace")


class Disk:
    """Notes which files and folders are synced, and fails the n-th call."""

    def __init__(self, monkeypatch, *, fails_at: int = 0) -> None:
        self.synced: list[str] = []
        self._left, self._names = fails_at, {}
        for name in CALLS:
            monkeypatch.setattr(os, name, self._watched(name, getattr(os, name)))

    def _watched(self, name, call):
        def watched(first, *more, **named):
            self._left -= 1
            if self._left == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            result = call(first, *more, **named)
            if name == "open":
                self._names[result] = str(first)
            if name == "fsync":
                self.synced.append("folder" if os.path.isdir(self._names[first]) else "file")
            return result

        return watched


def _written(path, *, fail=False):
    with files.written(path) as file:
        file.write("long ")
        if fail:
            raise ValueError("half-way")
        file.write("text")


def test_a_long_file_is_whole_or_absent_and_never_over_another(tmp_path):
    path = tmp_path / "long"
    with pytest.raises(ValueError, match="half-way"):
        _written(path, fail=True)
    assert list(tmp_path.iterdir()) == []
    _written(path)
    assert path.read_text() == "long text"
    with pytest.raises(FileExistsError):
        _written(path)
    assert [one.name for one in tmp_path.iterdir()] == ["long"]


def test_every_way_to_write_syncs_the_folder_after_the_file(tmp_path, monkeypatch):
    there = tmp_path / "there"
    there.write_bytes(b"old")
    for write, synced in (
        (lambda: files.create(tmp_path / "new", b"x"), ["file", "folder"]),
        (lambda: files.replace(there, b"x"), ["file", "folder"]),
        (lambda: files.move(there, tmp_path / "moved"), ["folder"]),
        (lambda: _written(tmp_path / "long"), ["file", "folder"]),
    ):
        with monkeypatch.context() as patched:
            disk = Disk(patched)
            write()
            assert disk.synced == synced


def test_whatever_fails_in_replacing_the_file_is_the_old_or_the_new_one_and_nothing_is_left(
    tmp_path, monkeypatch
):
    path, found = tmp_path / "there", []
    for number in range(1, 20):
        path.write_bytes(b"old")
        with monkeypatch.context() as patched:
            Disk(patched, fails_at=number)
            try:
                files.replace(path, b"new")
            except OSError:
                found.append(path.read_bytes())
            else:
                break
        assert [each.name for each in tmp_path.iterdir()] == ["there"]
    # Written, synced and renamed; only the folder's own sync comes after.
    assert found == [b"old"] * 4 + [b"new"] * 2
    assert path.read_bytes() == b"new"


def test_whatever_fails_in_making_a_file_none_is_left(tmp_path, monkeypatch):
    path = tmp_path / "new"
    for number in range(1, 20):
        with monkeypatch.context() as patched:
            Disk(patched, fails_at=number)
            try:
                files.create(path, b"new")
            except OSError:
                assert list(tmp_path.iterdir()) == []
            else:
                break
    assert number == 5
    assert path.read_bytes() == b"new"


def test_a_file_that_is_there_is_never_overwritten_by_making_one(tmp_path):
    (tmp_path / "there").write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        files.create(tmp_path / "there", b"ours")
    assert (tmp_path / "there").read_bytes() == b"theirs"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_file_is_private_unless_told_otherwise_whatever_the_umask(umask, tmp_path):
    before = os.umask(umask)
    try:
        files.create(tmp_path / "made", b"")
        files.replace(tmp_path / "put", b"")
        _written(tmp_path / "long")
        files.replace(tmp_path / "public", b"", mode=files.PUBLIC)
    finally:
        os.umask(before)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()}
    assert modes == {"made": 0o600, "put": 0o600, "long": 0o600, "public": 0o644}


def test_where_folders_cannot_be_synced_files_are_written_all_the_same(tmp_path, monkeypatch):
    opened, real = [], os.open
    monkeypatch.setattr(files.os, "name", "nt")
    monkeypatch.setattr(os, "open", lambda path, *more: opened.append(path) or real(path, *more))
    place = tmp_path / "there"
    monkeypatch.setattr(Path, "with_name", lambda path, name: place.parent / name)
    files.replace(place, b"new")
    assert place.parent not in opened
