"""Each process of a federation is killed in each phase of the protocol; the sums are right."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from fedethics.privacy.ledger.verify import read_book
from fedethics.protocol import Action
from fedethics.release import evidence
from tests.deployment.books import check_the_sums
from tests.deployment.deaths import (
    AT_THE_ENDS,
    IN_A_ROUND,
    KIND,
    OF_A_SITE,
    VICTIMS,
    Phase,
    Reaper,
)
from tests.deployment.federation import Federation, deploy, stage

# What differs most from each other: before anything is masked, while it is masked, while it is
# opened. `make test-exhaustive` has every victim in every phase.
TELLING = {
    ("superlink", ("update", str(Action.FORWARD))),
    ("serverapp", ("update", str(Action.PROOF))),
    ("coordinator", ("counts", str(Action.SURVIVORS))),
    ("executor", ("update", str(Action.TRAIN))),
}


def _live_and_check(folder: Path, due: set[tuple[str, Phase]], *, rounds: int) -> None:
    federation = deploy(stage(folder / "b", rounds=rounds)).quicken()
    reaper = Reaper(federation, set(due))
    try:
        reaper.run(timeout_s=600 + 180 * len(due))
        assert set(reaper.deaths) == due
    finally:
        federation.end()
    _check_that_no_sum_was_opened_twice(federation)
    _check_that_all_was_charged(federation, reaper)
    check_the_sums(federation, folder, rounds=rounds)


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


def _check_that_all_was_charged(federation: Federation, reaper: Reaper) -> None:
    """A site was charged once for each sum that it is in.

    Where its process died at work, between the charge and the note of what it is for, being asked
    again is charged again.
    """
    sums = evidence.load(federation.job / "evidence.json").rounds
    for site, home in federation.stage.homes.items():
        charged = Counter(
            (charge.round_number, charge.kind) for charge in read_book(home / "ledger.db").counted()
        )
        owed = {(entry.round, entry.kind) for entry in sums if site in entry.survivors}
        asked = _asked(federation, site)
        assert owed <= set(charged) <= set(asked), site
        for key, times in charged.items():
            died = (site, KIND.get(key[1], key[1])) in reaper.at_work
            assert times == 1 or (died and times == 2 <= asked[key]), (site, key)


def _asked(federation: Federation, site: str) -> Counter[tuple[int, str]]:
    """Count how often a site was asked for a sum, also for one that was given up, never opened."""
    return Counter(
        (int(str(event["round"])), str(event["task"]))
        for event in federation.events()
        if event["event"] == "leg-started"
        and event["leg"] in (Action.TRAIN, Action.EVALUATE)
        and site in event["asked"]
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_deaths_that_differ_most_leave_no_trace_in_the_sums(tmp_path):
    _live_and_check(tmp_path, TELLING, rounds=3)


@pytest.mark.exhaustive
@pytest.mark.timeout(4500)
@pytest.mark.parametrize("victim", VICTIMS)
def test_a_process_that_is_killed_in_every_phase_leaves_no_trace_in_the_sums(victim, tmp_path):
    due = {(victim, phase) for phase in (*IN_A_ROUND, *AT_THE_ENDS)}
    # Where a site dies, its sum goes on without it, so each sum has one death at most.
    rounds = 10 if victim in (*OF_A_SITE, "site") else 2
    _live_and_check(tmp_path, due, rounds=rounds)
