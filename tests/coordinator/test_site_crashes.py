"""A site that dies at any write: the job ends, nothing is under-counted, nothing opens twice."""

from __future__ import annotations

import pytest

from fedethics import charter_sums
from fedethics.errors import RunError
from fedethics.privacy.ledger.store import Transaction
from fedethics.secagg.store import SiteStore
from fedethics.site.journal import Journal
from tests.coordinator.conftest import SITES, Tap, TappedGrid, charged, opened
from tests.loopback import _UNAVAILABLE

VICTIM = "hungary"
QUESTIONS = {
    (charter_sums.UPDATE, 1),
    (charter_sums.PROGRESS, 1),
    (charter_sums.UPDATE, 2),
    (charter_sums.FAIRNESS, 2),
}


class SiteDied(BaseException):
    """The handler's process is gone, in the middle of a request."""


class Mortal(TappedGrid):
    """Answers for a site that died as Flower does: the node is unavailable for this request."""

    def _deliver(self, message):
        from flwr.app import Message

        from tests.inprocess import COORDINATOR_NODE, enter_task, wire_copy

        self.now = (
            self._site_of[message.metadata.dst_node_id],
            message.metadata.message_type,
        )
        try:
            return super()._deliver(message)
        except SiteDied:
            enter_task(run_id=1, node_id=COORDINATOR_NODE)
            message_id = f"message-{self._count}"
            arrived = wire_copy(message, message_id=message_id)
            self._replies[message_id] = Message(_UNAVAILABLE, reply_to=arrived)
            return message_id


class Scythe:
    """Counts the writes of one site, and ends its process at one of them."""

    def __init__(self, monkeypatch, at: int | None) -> None:
        self.at, self.count, self.names, self.grid = at, 0, [], None
        for owner, method, name in (
            (SiteStore, "transaction", "secagg.db"),
            (Journal, "_open", "journal.db"),
        ):
            self._around(monkeypatch, owner, method, name)
        real = Transaction.commit

        def commit(store, *arguments, **named):
            self.step("before ledger.db")
            real(store, *arguments, **named)
            self.step("after ledger.db")

        monkeypatch.setattr(Transaction, "commit", commit)

    def step(self, name: str) -> None:
        site, action = self.grid.now
        if site != VICTIM:
            return
        self.names.append(f"{action}: {name}")
        self.count += 1
        if self.count - 1 == self.at:
            self.at = None
            raise SiteDied

    def _around(self, monkeypatch, owner, method: str, name: str) -> None:
        from contextlib import contextmanager

        real = getattr(owner, method)

        @contextmanager
        def stepped(*arguments, **named):
            with real(*arguments, **named) as opened_:
                yield opened_
                self.step(f"before {name}")
            self.step(f"after {name}")

        monkeypatch.setattr(owner, method, stepped)


def _run(quick, monkeypatch, at: int | None):
    """Run a job in which the site dies once, and resume it if it could not end."""
    stage, tap = quick.copy(), Tap()
    with monkeypatch.context() as patched:
        scythe = Scythe(patched, at)

        def grid(**fields):
            made = Mortal(**fields)
            made.tap, scythe.grid = tap, made
            return made

        try:
            quick.run(stage, grid=grid)
        except RunError:
            quick.run(stage, resume=True, grid=grid)
    return stage, tap, scythe


def _assert_whole(stage, tap) -> None:
    for site in SITES:
        paid = charged(stage, site)
        # Whatever was revealed was paid for, and a round that fell through was paid for too.
        assert set(opened(stage, site)) <= set(paid) <= QUESTIONS
    assert all(len(answers) == 1 for answers in tap.revealed.values())
    assert {(task, number) for _, task, number in tap.revealed} == QUESTIONS


def _one_of_each(names: list[str]) -> list[int]:
    """The first write of each kind in each leg."""
    return [names.index(name) for name in dict.fromkeys(names)]


@pytest.mark.parametrize("every", [12, pytest.param(5, marks=pytest.mark.slow)])
def test_a_site_that_dies_once_at_any_kind_of_write_costs_at_most_its_part(
    quick, monkeypatch, every
):
    _, _, calm = _run(quick, monkeypatch, None)
    points = _one_of_each(calm.names)
    assert {"journal.db", "secagg.db", "ledger.db"} == {
        name.rpartition(" ")[2] for name in calm.names
    }
    for at in points[::every]:
        stage, tap, _ = _run(quick, monkeypatch, at)
        _assert_whole(stage, tap)


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)  # hundreds of jobs
def test_a_site_that_dies_once_at_any_write_at_all_costs_at_most_its_part(quick, monkeypatch):
    _, _, calm = _run(quick, monkeypatch, None)
    for at in range(calm.count):
        stage, tap, _ = _run(quick, monkeypatch, at)
        _assert_whole(stage, tap)
