"""A site that was not told a sum, or was away for a round: told first, or caught up, then asked."""

from __future__ import annotations

import json
import sqlite3

import pytest

import fedethics.coordinator.sums as sums_module
from fedethics import charter_sums
from fedethics.coordinator.protocol_files import CheckedSums
from fedethics.errors import RunError
from fedethics.protocol import Action
from fedethics.release import evidence, folder
from fedethics.release.receipts import genuine
from fedethics.release.run_log import read_events
from tests.coordinator.conftest import SITES, charged, opened
from tests.loopback import LoopbackGrid

AWAY = "hungary"
QUESTIONS = {
    (charter_sums.UPDATE, 1),
    (charter_sums.PROGRESS, 1),
    (charter_sums.UPDATE, 2),
    (charter_sums.FAIRNESS, 2),
}


def _losing(action: Action, times: float):
    """Lose the first messages of an action to one site."""
    left = {"times": times}

    def lost(site, message) -> bool:
        kind = message.metadata.message_type
        if site != AWAY or not str(action).startswith(kind.removesuffix(".default")):
            return False
        left["times"] -= 1
        return left["times"] >= 0

    return lambda **fields: LoopbackGrid(**fields, lost=lost)


def _said(stage, site: str) -> dict[tuple[str, int], str]:
    """What a site's receipt says of the check of each sum."""
    found = evidence.load(stage.run_dir / folder.EVIDENCE)
    key = stage.charter.member(site).public_key
    receipts = (genuine(signed, roster_key=key) for signed in found.receipts)
    (receipt,) = (one for one in receipts if one is not None)
    return {(told.kind, told.round): told.slices for told in receipt.sums}


def _derived(stage, site: str) -> dict[int, str]:
    """The hash of each adapter that a site derived, by round."""
    with sqlite3.connect(stage.homes[site] / "journal.db") as journal:
        return dict(journal.execute("SELECT round, sha256 FROM derived WHERE state = 'held'"))


def _sums(stage) -> dict[tuple[str, int], list[str]]:
    state = json.loads((stage.run_dir / "state.json").read_text())
    return {(one["kind"], one["round"]): one["survivors"] for one in state["sums"]}


@pytest.mark.parametrize("action", [Action.RESULT, Action.SLICE])
def test_a_site_that_missed_what_it_was_told_is_told_before_it_is_asked_again(quick, action):
    calm, stage = quick.copy(), quick.copy()
    quick.run(calm)
    quick.run(stage, grid=_losing(action, times=1))
    assert quick.final(stage) == quick.final(calm)
    assert dict(charged(stage, AWAY)) == dict.fromkeys(QUESTIONS, 1)
    assert _said(stage, AWAY) == dict.fromkeys(QUESTIONS, "passed")
    refused = [e["code"] for e in read_events(stage.run_dir) if e["event"] == "refused"]
    assert refused == ["flower-5"]  # the message that was lost, and no site's no
    for site in SITES:
        assert _derived(stage, site) == _derived(calm, site)


def test_a_site_that_is_left_in_the_dark_answers_no_further_opening_until_it_is_told(
    quick, monkeypatch
):
    stage = quick.copy()
    with monkeypatch.context() as patched:
        # A coordinator that does not make up for it; no honest one leaves that out.
        patched.setattr(sums_module.Sums, "settle_all", lambda _sums: None)
        with pytest.raises(RunError, match="fairness sum of round 2"):
            quick.run(stage, grid=_losing(Action.RESULT, times=1))
    codes = {e["code"] for e in read_events(stage.run_dir) if e["event"] == "refused"}
    assert codes == {"flower-5", "FE604"}
    assert dict(charged(stage, AWAY)) == {(charter_sums.UPDATE, 1): 1}
    quick.run(stage, resume=True)  # which begins with telling it
    assert (charter_sums.FAIRNESS, 2) in opened(stage, AWAY)
    assert _said(stage, AWAY)[charter_sums.UPDATE, 1] == "passed"


def test_a_site_that_was_away_for_a_whole_round_catches_up_and_takes_part_again(quick):
    stage = quick.copy()
    quick.run(stage, grid=_losing(Action.TRAIN, times=1))
    sums = _sums(stage)
    assert AWAY not in sums[charter_sums.UPDATE, 1]
    for later in QUESTIONS - {(charter_sums.UPDATE, 1)}:
        assert AWAY in sums[later]
    ours, theirs = _derived(stage, AWAY), _derived(stage, "cleveland")
    assert ours[1] == theirs[1] and ours[2] == theirs[2]
    assert _said(stage, AWAY).keys() == QUESTIONS - {(charter_sums.UPDATE, 1)}


def test_a_site_that_enrols_after_the_others_derives_the_adapter_and_counts_with_it(quick):
    """It was away for the sum of round 1; the resumed job begins without it, and then it comes."""
    stage, gone = quick.copy(), set()

    def leaves(site, message) -> bool:
        if site == AWAY and message.metadata.message_type.startswith("train"):
            gone.add(site)
        return site in gone

    with pytest.raises(RunError, match=rf"progress sum of round 1.*lacks {AWAY}.*nothing more"):
        quick.run(stage, grid=lambda **fields: LoopbackGrid(**fields, lost=leaves))
    assert AWAY not in _sums(stage)[charter_sums.UPDATE, 1]
    assert not _derived(stage, AWAY)

    quick.run(stage, resume=True, grid=_losing(Action.ANNOUNCE, times=1))
    begun = [e["sites"] for e in read_events(stage.run_dir) if e["event"] == "run"]
    assert begun == [list(SITES), sorted(set(SITES) - {AWAY})]
    sums = _sums(stage)
    for later in QUESTIONS - {(charter_sums.UPDATE, 1)}:
        assert AWAY in sums[later]
    ours, theirs = _derived(stage, AWAY), _derived(stage, "cleveland")
    assert ours == {number: theirs[number] for number in (1, 2)}
    assert (charter_sums.FAIRNESS, 2) in opened(stage, AWAY)


def test_every_sum_is_kept_with_the_word_of_each_site_in_it(quick):
    stage = quick.copy()
    quick.run(stage)
    kept = CheckedSums(stage.run_dir)
    for task, number in QUESTIONS:
        assert kept.signers(task, number) == set(SITES)
        assert len(kept.load(task, number).statements) == len(SITES)
    assert kept.last_checked(AWAY, before=2) == 2
    assert kept.last_checked("nobody", before=2) == 0


def test_a_site_keeps_one_adapter_and_none_once_the_last_sum_is_checked(quick, monkeypatch):
    stage, held = quick.copy(), []
    real = LoopbackGrid._deliver

    def counted(grid, message):
        with sqlite3.connect(stage.homes["cleveland"] / "journal.db") as journal:
            if journal.execute("SELECT 1 FROM sqlite_master WHERE name = 'derived'").fetchone():
                row = journal.execute(
                    "SELECT count(*) FROM derived WHERE words != x'' AND state != 'told'"
                )
                held.append(row.fetchone()[0])
        return real(grid, message)

    monkeypatch.setattr(LoopbackGrid, "_deliver", counted)
    quick.run(stage)
    assert set(held) == {0, 1}
    assert held[-1] == 0
