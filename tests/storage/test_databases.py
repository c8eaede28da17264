"""A database is private, laid out before it has its name, and made by nobody who only opens it."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import sqlite3
import stat

import pytest

from fedethics.secagg import SiteStore
from fedethics.storage import databases

TABLE = "BEGIN IMMEDIATE; CREATE TABLE t (x); INSERT INTO t VALUES (1); COMMIT;"


def _lay_out(connection):
    connection.executescript(TABLE)


def _rows(path):
    with databases.connected(path, timeout_s=1.0) as connection:
        return connection.execute("SELECT x FROM t").fetchall()


def test_opening_makes_no_database(tmp_path):
    with (
        pytest.raises(sqlite3.OperationalError, match="unable to open"),
        databases.connected(tmp_path / "none.db", timeout_s=1.0),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_committed_is_undone(tmp_path):
    path = tmp_path / "one.db"
    databases.make(path, _lay_out)
    with databases.connected(path, timeout_s=1.0) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO t VALUES (2)")
    assert _rows(path) == [(1,)]


def test_a_reader_changes_nothing(tmp_path):
    path = tmp_path / "one.db"
    databases.make(path, _lay_out)
    before = path.read_bytes()
    with databases.connected(path, timeout_s=1.0, mode="ro") as connection:
        assert connection.execute("SELECT x FROM t").fetchall() == [(1,)]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("INSERT INTO t VALUES (2)")
    assert path.read_bytes() == before


@pytest.mark.parametrize("links", [True, False])
def test_a_database_is_laid_out_before_it_has_its_name(links, tmp_path, monkeypatch):
    path = tmp_path / "one.db"
    if not links:

        def refuses(*_):
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuses)

    def watched(connection):
        _lay_out(connection)
        assert not path.exists()

    databases.make(path, watched)
    assert _rows(path) == [(1,)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (path.stat().st_nlink, [each.name for each in tmp_path.iterdir()]) == (1, ["one.db"])


@pytest.mark.parametrize("links", [True, False])
def test_who_comes_second_leaves_the_first_ones_database(links, tmp_path, monkeypatch):
    path = tmp_path / "one.db"
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "")))

    def slow(connection):
        _lay_out(connection)
        if not path.exists():
            databases.make(path, _lay_out)
            with databases.connected(path, timeout_s=1.0) as first:
                first.execute("INSERT INTO t VALUES (5)")

    databases.make(path, slow)
    assert _rows(path) == [(1,), (5,)]
    assert [each.name for each in tmp_path.iterdir()] == ["one.db"]


def _die_while_making(path):
    def dies(connection):
        _lay_out(connection)
        os.kill(os.getpid(), signal.SIGKILL)

    databases.make(path, dies)


def test_a_maker_that_is_killed_leaves_no_empty_database(tmp_path):
    child = multiprocessing.get_context("fork").Process(
        target=_die_while_making, args=(tmp_path / "one.db",)
    )
    child.start()
    child.join(timeout=60)
    assert child.exitcode == -signal.SIGKILL
    assert not (tmp_path / "one.db").exists()
    databases.make(tmp_path / "one.db", _lay_out)
    assert _rows(tmp_path / "one.db") == [(1,)]


def _open_store(path, start, found):
    start.wait(60)
    SiteStore(path)
    found.put("opened")


def test_processes_that_open_a_new_site_store_at_once_all_find_it_whole(tmp_path):
    context = multiprocessing.get_context("fork")
    start, found = context.Event(), context.Queue()
    children = [
        context.Process(target=_open_store, args=(tmp_path / "site" / "secagg.db", start, found))
        for _ in range(6)
    ]
    for child in children:
        child.start()
    start.set()
    for child in children:
        child.join(timeout=60)
    assert [child.exitcode for child in children] == [0] * 6
    assert [each.name for each in (tmp_path / "site").iterdir()] == ["secagg.db"]
