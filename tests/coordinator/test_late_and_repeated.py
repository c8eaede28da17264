"""Late, doubled and reordered replies, and a site that is slow once, do no harm."""

from __future__ import annotations

import itertools
import json

import pytest

from fedethics import charter_sums
from fedethics.errors import RunError
from fedethics.release.run_log import follow, read_events
from tests.coordinator.conftest import SITES, charged, opened
from tests.inprocess import wire_copy
from tests.loopback import LoopbackGrid


def test_doubled_and_reordered_replies_open_the_same_sums(quick):
    class Restless(LoopbackGrid):
        """Gives the replies backwards, each twice, and one that nobody asked for now and then."""

        def pull_messages(self, message_ids):
            self.past = [*getattr(self, "past", []), *super().pull_messages(message_ids)]
            newest = self.past[-len(SITES) :]
            return [*reversed(newest), *newest, *self.past[:1]]

    calm, restless = quick.whole(), quick.copy()
    quick.run(restless, grid=Restless)
    assert quick.final(restless) == quick.final(calm)


class LateOnce(LoopbackGrid):
    """One site takes part in everything; in one leg its replies come after the deadline."""

    late = ("hungary", "query.forward", 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.held: list = []
        self.counts = itertools.count(1)

    def _deliver(self, message):
        message_id = super()._deliver(message)
        site, kind, which = self.late
        mine = self._site_of[message.metadata.dst_node_id] == site
        of_the_leg = message.metadata.message_type.startswith(kind)
        if mine and of_the_leg and (next(self.counts) == which or self.held):
            self.held.append((message_id, self._replies.pop(message_id)))
        elif self.held and not of_the_leg:  # the next leg is under way: now they come
            self._replies.update(self.held)
            self.held.clear()
        return message_id


@pytest.mark.parametrize("leg", ["query.forward", "query.survivors"])
def test_a_site_that_is_late_once_is_a_dropout_once_and_takes_part_again(quick, leg):
    class Grid(LateOnce):
        late = ("hungary", leg, 1)

    stage = quick.copy()
    quick.run(stage, grid=Grid, leg_timeout_s=2.0, relay_timeout_s=2.0)
    rounds = {
        (entry["kind"], entry["round"]): entry
        for entry in json.loads((stage.run_dir / "state.json").read_text())["sums"]
    }
    first, second = rounds[charter_sums.UPDATE, 1], rounds[charter_sums.UPDATE, 2]
    assert [entry["site"] for entry in first["dropped"]] == ["hungary"]
    assert ("hungary" in first["survivors"]) == (leg in {"query.survivors", "query.proof"})
    assert second["dropped"] == []
    assert second["survivors"] == list(SITES)
    assert charged(stage, "hungary")[charter_sums.UPDATE, 1] == 1
    seen = follow(read_events(stage.run_dir))
    assert list(seen.seen[1].dropped) == ["hungary"]
    assert seen.state == "closed"


def test_a_site_that_is_late_in_enrolment_counts_in_the_tables_and_trains_in_the_next_run(quick):
    class Grid(LateOnce):
        late = ("hungary", "query.announce", 1)

    stage = quick.copy()
    quick.run(stage, grid=Grid, leg_timeout_s=2.0, relay_timeout_s=2.0)
    # It was asked again before round 1, before any sum: so it is in every one.
    assert sorted(opened(stage, "hungary")) == sorted(opened(stage, "cleveland"))


def test_a_job_does_not_begin_without_a_site_and_ends_once_it_is_there(quick):
    absent = {"va-long-beach": True}
    stage = quick.copy()
    lost = lambda site, _message: absent.get(site, False)  # noqa: E731
    with pytest.raises(RunError, match="No answer came from va-long-beach"):
        quick.run(stage, grid=lambda **fields: LoopbackGrid(**fields, lost=lost))
    assert all(not charged(stage, site) for site in SITES)
    absent.clear()
    quick.run(stage, resume=True)
    for site in SITES:
        assert (charter_sums.UPDATE, 1) in opened(stage, site)
        assert (charter_sums.FAIRNESS, 2) in opened(stage, site)


def test_a_light_evaluation_that_fell_out_is_made_up_when_the_job_is_resumed(quick):
    def never_measures(site, message) -> bool:
        return site == "hungary" and message.metadata.message_type.startswith("evaluate")

    stage = quick.copy()
    with pytest.raises(RunError, match="fairness sum of round 2"):
        quick.run(stage, grid=lambda **fields: LoopbackGrid(**fields, lost=never_measures))
    assert json.loads((stage.run_dir / "state.json").read_text())["progress"] == []
    quick.run(stage, resume=True)
    whole = quick.whole()
    ours, theirs = (
        json.loads((each.run_dir / "state.json").read_text()) for each in (stage, whole)
    )
    assert ours["progress"] == theirs["progress"] != []
    assert (stage.run_dir / "metrics.jsonl").read_text() == (
        whole.run_dir / "metrics.jsonl"
    ).read_text()


def test_every_request_of_a_run_asked_twice_is_answered_twice_with_the_same_bytes(quick):
    class Twice(LoopbackGrid):
        def _deliver(self, message):
            before = wire_copy(message, message_id="again")
            first = super()._deliver(message)
            answer = self._replies[first]
            again = super()._deliver(before)
            repeated = self._replies.pop(again)
            self.twice = getattr(self, "twice", 0) + 1
            if message.metadata.message_type != "query.receipt":  # which says when it was issued
                assert payloads(answer) == payloads(repeated), message.metadata.message_type
            return first

    def payloads(message):
        from fedethics.flower.wire import parse_reply

        reply = parse_reply(message)
        assert reply.refusal is None, reply.refusal
        return dict(reply.payloads)

    stage = quick.copy()
    quick.run(stage, grid=Twice)
    assert all(count == 1 for site in SITES for count in charged(stage, site).values())
