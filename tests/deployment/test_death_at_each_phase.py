"""Each process of a federation is killed in each phase of the protocol; the sums are right."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from fedethics.flower.wire import parse_request
from fedethics.privacy.ledger.verify import read_book
from fedethics.protocol import Action
from fedethics.release import evidence
from fedethics.secagg import framing
from fedethics.secagg.framing import Kind
from simulations.federation import run_federation
from tests.deployment.deaths import (
    AT_THE_ENDS,
    IN_A_ROUND,
    OF_A_SITE,
    VICTIMS,
    Phase,
    Reaper,
)
from tests.deployment.federation import Federation, deploy, stage

# What differs most from each other: before anything is masked, while it is masked, while it is
# opened, and while the opened sum is told.
TELLING = {
    ("superlink", ("update", str(Action.FORWARD))),
    ("serverapp", ("update", str(Action.PROOF))),
    ("coordinator", ("counts", str(Action.SURVIVORS))),
    ("executor", ("update", str(Action.TRAIN))),
    ("launcher", ("counts", str(Action.EVALUATE))),
    ("superlink", ("counts", str(Action.RESULT))),
    ("supernode", ("counts", str(Action.FORWARD))),
}


def _lived_through(folder: Path, due: set[tuple[str, Phase]], *, rounds: int) -> Federation:
    federation = deploy(stage(folder / "b", rounds=rounds)).quicken()
    reaper = Reaper(federation, set(due))
    try:
        reaper.run(timeout_s=600 + 180 * len(due))
        assert set(reaper.deaths) == due
    finally:
        federation.end()
    return federation


def _check(federation: Federation, folder: Path, *, rounds: int) -> None:
    _check_that_no_sum_was_opened_twice(federation)
    _check_that_all_was_charged(federation)
    _check_the_sums(federation, folder, rounds=rounds)


def _check_that_no_sum_was_opened_twice(federation: Federation) -> None:
    """Over all sites and all lives of the job, each sum was revealed in one session."""
    sessions: dict[tuple[str, int], set[str]] = {}
    for home in federation.stage.homes.values():
        with sqlite3.connect(home / "secagg.db") as store:
            rows = store.execute(
                "SELECT task, round, session FROM sessions WHERE stage IN ('revealed', 'finished')"
            )
            for task, number, session in rows:
                sessions.setdefault((task, number), set()).add(session)
    assert all(len(found) == 1 for found in sessions.values()), sessions
    sums = evidence.load(federation.job / "evidence.json").rounds
    assert {(entry.kind, entry.round) for entry in sums} == set(sessions)
    assert len(sums) == len(sessions)


def _check_that_all_was_charged(federation: Federation) -> None:
    """A site was charged once for each sum that it is in (an audit: in both accounts)."""
    sums = evidence.load(federation.job / "evidence.json").rounds
    for site, home in federation.stage.homes.items():
        charged = Counter(
            (charge.round_number, charge.kind) for charge in read_book(home / "ledger.db").counted()
        )
        owed = {(entry.round, entry.kind) for entry in sums if site in entry.survivors}
        asked = _asked(federation, site)
        assert owed <= set(charged) <= asked, site
        once = {key: 2 if key[1] == "audit" else 1 for key in charged}
        assert charged == once, site


def _asked(federation: Federation, site: str) -> set[tuple[int, str]]:
    """Return the sums that a site was asked for, also those that were given up and never opened."""
    return {
        (int(str(event["round"])), str(event["task"]))
        for event in federation.events()
        if event["event"] == "leg-started"
        and event["leg"] in (Action.TRAIN, Action.EVALUATE)
        and site in event["asked"]
    }


def _check_the_sums(federation: Federation, folder: Path, *, rounds: int) -> None:
    """Each sum is, bit for bit, what a simulation opens over the same survivors."""
    theirs = {
        (entry.kind, entry.round): entry
        for entry in evidence.load(federation.job / "evidence.json").rounds
    }

    def lost(site: str, message) -> bool:
        if message.metadata.message_type not in (Action.TRAIN, Action.EVALUATE):
            return False
        opened = parse_request(message).payloads["open"]
        header = framing.decode(opened, kind=Kind.OPEN, max_body_bytes=0).header
        opening = theirs.get((header["task"], header["round"]))
        return opening is None or site not in opening.survivors  # a light one may be given up

    again = run_federation(stage(folder / "again", rounds=rounds), lost=lost)
    ours = evidence.load(again / "evidence.json").rounds
    assert {(entry.kind, entry.round) for entry in ours} == set(theirs)
    for entry in ours:
        there = theirs[entry.kind, entry.round]
        assert (entry.survivors, entry.sum_sha256) == (there.survivors, there.sum_sha256)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_deaths_that_differ_most_leave_no_trace_in_the_sums(tmp_path):
    _check(_lived_through(tmp_path, TELLING, rounds=2), tmp_path, rounds=2)


@pytest.mark.exhaustive
@pytest.mark.timeout(4500)
@pytest.mark.parametrize("victim", VICTIMS)
def test_a_process_that_is_killed_in_every_phase_leaves_no_trace_in_the_sums(victim, tmp_path):
    due = {(victim, phase) for phase in (*IN_A_ROUND, *AT_THE_ENDS)}
    # Where a site dies, its sum goes on without it, so each sum has one death at most.
    rounds = 10 if victim in (*OF_A_SITE, "site") else 2
    _check(_lived_through(tmp_path, due, rounds=rounds), tmp_path, rounds=rounds)
