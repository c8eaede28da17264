"""What was lost on the way, to a site or from it, is asked for again and costs nothing more."""

from __future__ import annotations

import pytest

import server.exchange as exchange_module
from fedethics.protocol import Action
from fedethics.release.run_log import read_events
from simulations.loopback import LoopbackGrid
from tests.server.conftest import SITES, charged

# COMPLETE is only sent on a ring, or where the key agreement needs it.
LEGS = [str(action) for action in Action if action is not Action.COMPLETE]


class Torn(LoopbackGrid):
    """The line to one site tears once: as a message is handed out, or as its answer is taken."""

    leg = ""
    answered = False
    times = 1

    def _deliver(self, message):
        node, kind = message.metadata.dst_node_id, message.metadata.message_type
        if not self.times or self._site_of[node] != "hungary" or kind != self.leg:
            return super()._deliver(message)
        self.times -= 1
        if not self.answered:
            return "handed out to nobody"
        message_id = super()._deliver(message)
        del self._replies[message_id]
        return message_id


@pytest.fixture
def at_once(monkeypatch):
    """Ask again after the first look, whatever the clock says."""
    monkeypatch.setattr(exchange_module, "_RELAY_AGAIN", 0.0)
    monkeypatch.setattr(exchange_module, "_WORK_AGAIN", 0.0)


def _again(stage):
    return [e for e in read_events(stage.run_dir) if e["event"] == "asked-again"]


@pytest.mark.parametrize("leg", LEGS)
@pytest.mark.parametrize("answered", [False, True], ids=["message", "answer"])
def test_a_message_or_answer_that_was_lost_changes_no_sum_and_no_charge(
    quick, at_once, leg, answered
):
    calm, torn = quick.copy(), quick.copy()
    quick.run(calm)
    quick.run(torn, grid=type("Grid", (Torn,), {"leg": leg, "answered": answered}))
    assert quick.final(torn) == quick.final(calm)
    (again,) = _again(torn)
    assert again["leg"] == leg and len(again["sites"]) == 1
    for site in SITES:
        assert charged(torn, site) == charged(calm, site)


def test_who_stays_silent_is_asked_twice_and_no_more(quick, at_once):
    stage = quick.copy()
    grid = type("Grid", (Torn,), {"leg": "query.survivors", "times": 2})
    quick.run(stage, grid=grid, leg_timeout_s=2.0, relay_timeout_s=2.0)
    again = _again(stage)
    assert [(entry["leg"], entry["sites"]) for entry in again] == [("query.survivors", ["hungary"])]


def test_nobody_is_asked_again_who_answers(quick):
    stage = quick.copy()
    quick.run(stage)
    assert not _again(stage)
