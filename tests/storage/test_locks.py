"""A lock that another holds is told apart from a file system that has none."""

from __future__ import annotations

import errno
import fcntl
import sys

import pytest

from fedethics.coordinator.job import job_lock
from fedethics.deployment.locking import is_held, locked
from fedethics.errors import RunError
from fedethics.storage import locks


@pytest.fixture
def path(tmp_path):
    lock = tmp_path / "home" / "node" / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    return lock


@pytest.fixture
def no_locks(monkeypatch):
    def refuses(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuses)


def test_one_holds_a_lock_alone_and_many_hold_it_together(path):
    with path.open("r+") as one, path.open("r+") as two, path.open("r+") as three:
        assert locks.take(one.fileno(), shared=True)
        assert locks.take(two.fileno(), shared=True)
        assert not locks.take(three.fileno())
    with path.open("r+") as one, path.open("r+") as two:
        assert locks.take(one.fileno())
        assert not locks.take(two.fileno())
        assert not locks.take(two.fileno(), shared=True)
    with path.open("r+") as two:
        assert locks.take(two.fileno())


def test_a_file_system_without_locks_is_an_error_and_no_holder(path, no_locks):
    with path.open("r+") as file, pytest.raises(locks.NoLocksError, match="No locks available"):
        locks.take(file.fileno())


def test_a_system_without_file_locks_is_the_same_error(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with path.open("r+") as file, pytest.raises(locks.NoLocksError, match="no file locks"):
        locks.take(file.fileno())


def test_a_home_on_such_a_file_system_is_not_said_to_be_run_by_another_process(path, no_locks):
    for hold in (lambda: locked(path).__enter__(), lambda: is_held(path)):
        with pytest.raises(RunError, match=r"cannot be locked \(No locks available\)") as caught:
            hold()
        assert "another process" not in str(caught.value)
    with pytest.raises(RunError, match="file system with working locks"), job_lock(path.parent):
        pass


def test_a_home_that_is_run_is_said_to_be(path):
    with locked(path):
        assert is_held(path)
        with pytest.raises(RunError, match="being run by another process"), locked(path):
            pass
    assert not is_held(path)
