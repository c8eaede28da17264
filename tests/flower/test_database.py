"""Many threads write to one SuperLink database; nobody is told that it is locked."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from flwr.supercore import sql_mixin
from flwr.supercore.sql_mixin import SqlMixin
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from fedethics.flower.patches import database as patch

THREADS = 8


@pytest.fixture
def database(tmp_path, monkeypatch):
    """A database of Flower's whose threads lose patience after 50 ms, and with which we part."""
    hasty = [(name, "50" if name == "busy_timeout" else how) for name, how in _pragmas()]
    monkeypatch.setattr(sql_mixin, "SQLITE_PRAGMAS", hasty)
    monkeypatch.setattr(sql_mixin, "run_migrations", lambda _engine: None)
    monkeypatch.setattr(SqlMixin, "session", SqlMixin.session)  # put back after the test
    opened = SqlMixin(str(tmp_path / "state.db"))
    opened.initialize()
    with opened.session() as session:
        session.execute(text("CREATE TABLE told (number INTEGER)"))
    return opened


def _pragmas():
    assert dict(sql_mixin.SQLITE_PRAGMAS)["busy_timeout"] == "5000"
    return sql_mixin.SQLITE_PRAGMAS


def _write_slowly(database: SqlMixin) -> list[int]:
    """Write from many threads at once, each for longer than the others' patience."""
    ready = threading.Barrier(THREADS)

    def write(number: int) -> None:
        ready.wait()
        with database.session() as session:
            session.execute(text("INSERT INTO told VALUES (:n)"), {"n": number})
            with database.session() as same:  # Flower nests them
                assert same is session
            time.sleep(0.2)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(write, range(THREADS)))
    return sorted(row["number"] for row in database.query("SELECT number FROM told"))


def _write_and_fail(database: SqlMixin) -> None:
    with database.session() as session:
        session.execute(text("INSERT INTO told VALUES (1)"))
        session.execute(text("INSERT INTO untold VALUES (1)"))


def test_without_turns_a_crowd_finds_the_database_locked(database):
    with pytest.raises(OperationalError, match="database is locked"):
        _write_slowly(database)


def test_with_turns_everyone_writes(database):
    patch.install()
    assert _write_slowly(database) == list(range(THREADS))


def test_a_turn_that_fails_is_given_back_and_nothing_of_it_is_kept(database):
    patch.install()
    with pytest.raises(OperationalError, match="no such table"):
        _write_and_fail(database)
    assert _write_slowly(database) == list(range(THREADS))
