"""Sites whose connection is gone for a while: waited for where the job could not go on without."""

from __future__ import annotations

import math

import pytest
from flwr.app import Message

from fedethics import charter_sums
from fedethics.errors import RunError
from fedethics.release.run_log import read_events
from tests.coordinator.conftest import SITES, charged, opened
from tests.inprocess import COORDINATOR_NODE, enter_task, wire_copy
from tests.loopback import _UNAVAILABLE, LoopbackGrid


class Cut(LoopbackGrid):
    """Some sites lose their connection at a leg, until it was looked for `looks` times.

    With `for_one_leg` they are back with the first message of another leg.
    """

    cut_sites: tuple[str, ...] = ()
    leg = ("train", 1)
    looks = 3.0
    for_one_leg = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.seen = 0
        self.left: float | None = None

    @property
    def _away(self) -> set[int]:
        if not self.left:
            return set()
        return {node for node, site in self._site_of.items() if site in self.cut_sites}

    def get_node_ids(self):
        here = [node for node in super().get_node_ids() if node not in self._away]
        self.left = self.left and self.left - 1
        return here

    def _deliver(self, message):
        node, kind = message.metadata.dst_node_id, message.metadata.message_type
        if kind.startswith(self.leg[0]):
            self.seen += 1
            if self.seen > len(SITES) * (self.leg[1] - 1) and self.left is None:
                self.left = self.looks
        elif self.for_one_leg and self.left:
            self.left = 0.0
        if node not in self._away:
            return super()._deliver(message)
        self._count += 1
        message_id = f"message-{self._count}"
        enter_task(run_id=1, node_id=COORDINATOR_NODE)
        self._replies[message_id] = Message(
            _UNAVAILABLE, reply_to=wire_copy(message, message_id=message_id)
        )
        return message_id


def _cut(sites: tuple[str, ...], leg: tuple[str, int], **how: object):
    return type("Grid", (Cut,), {"cut_sites": sites, "leg": leg, **how})


@pytest.mark.parametrize("leg", [("train", 1), ("query.survivors", 1), ("query.proof", 1)])
def test_a_cut_of_all_sites_is_waited_out_and_the_job_ends(quick, leg):
    stage = quick.copy()
    quick.run(stage, grid=_cut(SITES, leg))
    waiting = [e for e in read_events(stage.run_dir) if e["event"] == "waiting"]
    assert [entry["sites"] for entry in waiting] == [sorted(SITES)]
    for site in SITES:
        assert set(opened(stage, site)) <= set(charged(stage, site))
        # The same noised answer was masked anew: nothing was charged twice.
        assert set(charged(stage, site).values()) == {1}


def test_one_site_away_at_the_final_tables_is_waited_for_since_they_need_everyone(quick):
    stage = quick.copy()
    quick.run(stage, grid=_cut(("hungary",), ("evaluate", 2)))
    assert (charter_sums.FAIRNESS, 2) in opened(stage, "hungary")
    waiting = [e["sites"] for e in read_events(stage.run_dir) if e["event"] == "waiting"]
    assert waiting == [["hungary"]]


def test_one_site_away_in_training_is_not_waited_for(quick):
    stage = quick.copy()
    quick.run(stage, grid=_cut(("hungary",), ("train", 2), looks=math.inf, for_one_leg=True))
    assert (charter_sums.UPDATE, 2) not in opened(stage, "hungary")
    assert "waiting" not in {entry["event"] for entry in read_events(stage.run_dir)}


def test_sites_that_stay_away_longer_than_the_slowest_may_work_stop_the_job(quick):
    stage = quick.copy()
    with pytest.raises(RunError, match="Resume the job when the sites are back"):
        quick.run(stage, grid=_cut(SITES, ("train", 1), looks=math.inf), leg_timeout_s=2.0)
    quick.run(stage, resume=True)
    assert (charter_sums.FAIRNESS, 2) in opened(stage, "hungary")
