"""What was lost on the way, to a site or from it, is asked for again and costs nothing more."""

from __future__ import annotations

import json

import pytest
from flwr.app import Error, Message

import fedethics.coordinator.exchange as exchange_module
from fedethics import charter_sums
from fedethics.protocol import Action
from fedethics.release.run_log import read_events
from tests.coordinator.conftest import SITES, charged
from tests.inprocess import COORDINATOR_NODE, enter_task, wire_copy
from tests.loopback import LoopbackGrid

WORK = [str(Action.TRAIN), str(Action.EVALUATE)]
# COMPLETE is only sent on a ring, or where the key agreement needs it; READY only to a site that
# gave nothing to the sum before.
SELDOM = (str(Action.COMPLETE), str(Action.READY))
RELAYS = [str(each) for each in Action if str(each) not in (*WORK, *SELDOM)]
UNAVAILABLE, CRASHED = Error(code=3, reason="gone"), Error(code=8, reason="crashed")


class Torn(LoopbackGrid):
    """The line to one site tears once: as a message is handed out, or as its answer is taken.

    Attributes:
        leg: when.
        answered: the site has answered.
        instead: what Flower says of it, at once; nothing: it is silent.
        late: likewise, but only once a second copy was answered, and before that answer.
        times: how often.
    """

    leg = ""
    answered = False
    instead: Error | None = None
    late: Error | None = None
    times = 1

    def _deliver(self, message):
        node, kind = message.metadata.dst_node_id, message.metadata.message_type
        if self._site_of[node] != "hungary" or kind != self.leg:
            return super()._deliver(message)
        self.times -= 1
        if self.times == -1 and self.late:
            self._say(self.late, message, self.first)
        if self.times < 0:
            return super()._deliver(message)
        self.first = f"first-{self.times}"
        if self.answered:
            del self._replies[super()._deliver(message)]
        if self.instead:
            self._say(self.instead, message, self.first)
        return self.first

    def _say(self, error, message, message_id):
        enter_task(run_id=1, node_id=COORDINATOR_NODE)
        copied = wire_copy(message, message_id=message_id)
        self._replies[message_id] = Message(error, reply_to=copied)


def torn(**how):
    return type("Grid", (Torn,), how)


@pytest.fixture
def at_once(monkeypatch):
    """Ask again after the first look, whatever the clock says."""
    monkeypatch.setattr(exchange_module, "_PATIENCE", 0.0)


def _again(stage):
    return [(e["leg"], len(e["sites"])) for e in read_events(stage.run_dir) if _is_again(e)]


def _is_again(event):
    return event["event"] == "asked-again"


def _check_nothing_differs(quick, grid, leg):
    calm, stage = quick.whole(), quick.copy()
    quick.run(stage, grid=grid)
    assert quick.final(stage) == quick.final(calm)
    assert _again(stage) == [(leg, 1)]
    for site in SITES:
        assert charged(stage, site) == charged(calm, site)


@pytest.mark.parametrize(
    "leg", [RELAYS[0], *(pytest.param(leg, marks=pytest.mark.slow) for leg in RELAYS[1:])]
)
@pytest.mark.parametrize("answered", [False, True], ids=["message", "answer"])
def test_a_message_or_answer_that_a_torn_line_swallowed_changes_no_sum_and_no_charge(
    quick, at_once, leg, answered
):
    _check_nothing_differs(quick, torn(leg=leg, answered=answered), leg)


@pytest.mark.parametrize("leg", [*WORK, "query.forward"])
def test_an_answer_that_flower_lost_is_asked_for_at_once_and_costs_nothing(quick, leg):
    _check_nothing_differs(quick, torn(leg=leg, answered=True, instead=UNAVAILABLE), leg)


@pytest.mark.parametrize("error", [UNAVAILABLE, CRASHED], ids=["lost", "crashed"])
def test_what_flower_says_of_the_first_copy_does_not_outdo_the_answer_to_the_second(
    quick, at_once, error
):
    leg = "query.survivors"
    _check_nothing_differs(quick, torn(leg=leg, late=error), leg)


@pytest.mark.parametrize("leg", WORK)
def test_a_site_that_is_silent_at_work_is_not_made_to_work_twice(quick, at_once, leg):
    stage = quick.copy()
    quick.run(stage, grid=torn(leg=leg), leg_timeout_s=2.0, relay_timeout_s=60.0)
    assert _again(stage) == []
    if leg == "train":
        first = json.loads((stage.run_dir / "state.json").read_text())["sums"][0]
        assert (first["kind"], "hungary" in first["survivors"]) == (charter_sums.UPDATE, False)


@pytest.mark.parametrize("instead", [None, UNAVAILABLE], ids=["silent", "lost"])
def test_nobody_is_asked_three_times(quick, at_once, instead):
    stage = quick.copy()
    grid = torn(leg="query.survivors", times=2, instead=instead)
    quick.run(stage, grid=grid, leg_timeout_s=2.0, relay_timeout_s=2.0)
    assert _again(stage) == [("query.survivors", 1)]


def test_nobody_is_asked_again_who_answers(quick):
    assert not _again(quick.whole())
