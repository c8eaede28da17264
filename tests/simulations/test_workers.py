"""Sites in worker processes: equal bytes for any number of them; one error where one dies."""

from __future__ import annotations

import dataclasses
import io
import os
import signal
import sys
import textwrap

import pytest

from fedethics.coordinator.exchange import Exchange
from fedethics.errors import RunError
from fedethics.protocol import OF_RECORDS, Action, Reply, Request
from fedethics.simulation import faults, staging
from fedethics.simulation.faults import faults_of
from fedethics.simulation.federation import run_federation
from fedethics.simulation.scenario import load
from fedethics.simulation.workers import (
    InWorkers,
    Worker,
    read_frame,
    read_request,
    reply_header,
    request_header,
    workers_of,
    write_frame,
)
from tests import small_encoder
from tests.e2e.conftest import ROOT, _small, _with_policy, heart_data  # noqa: F401  a fixture

ASKED = Request(
    action=Action.READY, charter_hash="c" * 64, run="r", payloads={"b": b"12", "a": b""}
)

# Answers with the site's name, its process and what it was asked; dies when told to.
ECHO = textwrap.dedent(
    """
    import os, signal, sys
    from fedethics.protocol import Reply
    from fedethics.simulation.workers import read_frame, reply_header, write_frame
    while True:
        try:
            header, payloads = read_frame(sys.stdin.buffer)
        except EOFError:
            sys.exit(0)
        if payloads.get("die"):
            os.kill(os.getpid(), signal.SIGKILL)
        said = {**payloads, "site": header["site"].encode(), "pid": str(os.getpid()).encode()}
        write_frame(sys.stdout.buffer, reply_header(Reply()), said)
    """
)


@pytest.fixture
def echoes():
    found = [Worker([sys.executable, "-c", ECHO], number) for number in (1, 2)]
    yield found
    for worker in found:
        worker.end()


def test_a_frame_is_read_as_it_was_written():
    pipe = io.BytesIO()
    write_frame(pipe, request_header("north", ASKED), ASKED.payloads)
    write_frame(pipe, reply_header(Reply(refusal=OF_RECORDS)), {})
    pipe.seek(0)
    header, payloads = read_frame(pipe)
    assert header["site"] == "north" and read_request(header, payloads) == ASKED
    header, payloads = read_frame(pipe)
    assert header["refusal"]["code"] == OF_RECORDS.code and not payloads
    with pytest.raises(EOFError):
        read_frame(pipe)
    with pytest.raises(EOFError):
        read_frame(io.BytesIO(pipe.getvalue()[:-1][:60]))


def test_each_site_is_answered_for_by_one_process_throughout(echoes):
    sites = ["a", "b", "c"]
    exchange = Exchange(InWorkers(sites, echoes), 60.0, 60.0, poll_s=0.0)
    nodes = exchange.nodes()
    first, second = (exchange.ask(Action.READY, dict.fromkeys(nodes, ASKED)) for _ in range(2))
    assert [first[node].payloads["site"].decode() for node in nodes] == sites
    pids = [int(first[node].payloads["pid"]) for node in nodes]
    assert pids == [echoes[0].pid, echoes[1].pid, echoes[0].pid]
    assert first == second
    assert first[nodes[0]].payloads["b"] == b"12"


def test_a_worker_that_is_killed_is_one_error_that_says_how_to_go_on(echoes):
    transport = InWorkers(["north", "south"], echoes)
    node = transport.nodes()[1]
    deadly = dataclasses.replace(ASKED, payloads={"die": b"1"})
    with pytest.raises(RunError, match="by signal 9") as gone:
        transport.send({node: deadly}, ttl_s=1.0)
    for said in ("worker 2", "south", "--resume", "stays charged"):
        assert said in str(gone.value)
    os.kill(echoes[0].pid, signal.SIGKILL)
    with pytest.raises(RunError, match="answered for north"):
        transport.send({transport.nodes()[0]: ASKED}, ttl_s=1.0)


def test_a_request_that_is_lost_or_late_gives_no_answer(echoes):
    transport = InWorkers(
        ["north", "south"], echoes, lost=lambda site, _: site == "north", late=lambda site, _: True
    )
    sent = transport.send(dict.fromkeys(transport.nodes(), ASKED), ttl_s=1.0)
    assert all(one.reply.refusal and not one.from_node for one in transport.receive(list(sent)))


@pytest.mark.parametrize("count", [0, 257])
def test_a_number_of_workers_that_cannot_be_is_refused(tmp_path, count):
    with pytest.raises(RunError, match="from 1 to 256"), workers_of(tmp_path, count):
        pass


@pytest.fixture
def staged(tmp_path, heart_data):  # noqa: F811
    """Four hospitals with a small model in a folder that any process can read, and fixed noise."""
    encoder = small_encoder.save(tmp_path)
    scenario, draft = load(ROOT / "configs" / "heart.toml")
    draft = dataclasses.replace(draft, model=encoder, adapter=small_encoder.ADAPTER)
    policy = (ROOT / "configs" / "policy.hospital.toml").read_text()
    fixed = policy.replace("[minimum]", "fixed-noise = true\n\n[minimum]")
    (tmp_path / "policy.toml").write_text(fixed)
    scenario = dataclasses.replace(_with_policy(scenario, "7"), model_dir=str(tmp_path))

    def build(name):
        return staging.build(
            scenario, _small(draft, dp=True), base=tmp_path, data_dir=heart_data,
            run_dir=tmp_path / name / "run",
        )  # fmt: skip

    return build


def adapters(stage):
    return [(stage.run_dir / "rounds" / f"adapter-000{n}.f32").read_bytes() for n in (1, 2)]


@pytest.mark.slow
def test_equal_settings_give_equal_bytes_whatever_the_number_of_workers(staged):
    one, two = staged("one"), staged("two")
    for stage, count in ((one, 1), (two, 2)):
        poison = faults_of([], [], ["hungary=flip"], charter=stage.charter)
        faults.keep(poison, stage.coordinator)
        run_federation(stage, workers=count)
    assert adapters(one) == adapters(two)
