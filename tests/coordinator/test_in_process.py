"""The coordinator does not know what carries its messages: Flower's grid, or a call."""

from __future__ import annotations

from fedethics.coordinator.transport import InProcess
from fedethics.protocol import Action, Reply, Request
from fedethics.release import evidence
from fedethics.simulation.federation import run_federation
from tests.coordinator.conftest import SITES, charged


def _sums(run):
    return [
        (entry.kind, entry.round, entry.survivors, entry.sum_sha256)
        for entry in evidence.load(run / "evidence.json").rounds
    ]


def test_sites_that_answer_in_this_process_open_the_sums_that_flowers_apps_open(quick):
    over_flower, inside = quick.copy(), quick.copy()
    ours, theirs = run_federation(inside), quick.run(over_flower)
    assert _sums(ours) == _sums(theirs)
    assert quick.final(inside) == quick.final(over_flower)
    assert all(charged(inside, site) == charged(over_flower, site) for site in SITES)


def test_a_request_that_is_lost_on_the_way_is_a_dropout(quick):
    stage, lost = quick.copy(), []

    def once(site: str, request: Request) -> bool:
        lost.append(site == "hungary" and request.action == Action.FORWARD and not any(lost))
        return lost[-1]

    (kind, number, survivors, _), *others = _sums(run_federation(stage, lost=once))
    assert (kind, number, survivors) == ("update", 1, tuple(s for s in SITES if s != "hungary"))
    assert all(entry[2] == SITES for entry in others)


def test_each_answer_comes_once_and_names_the_message_that_it_is_to():
    transport = InProcess({"b": lambda _: Reply(payloads={"b": b"2"}), "a": lambda _: Reply()})
    request = Request(action=Action.READY, charter_hash="", run="run")
    first, second = transport.nodes()
    sent = transport.send({second: request}, ttl_s=1.0)
    assert list(sent.values()) == [second]
    (arrival,) = transport.receive(list(sent))
    assert (arrival.message_id, arrival.from_node) == (next(iter(sent)), True)
    assert arrival.reply == Reply(payloads={"b": b"2"})
    assert list(transport.receive(list(sent))) == []
    assert first not in sent.values()
