"""A coordinator that tells every site the same false sum: the sites recompute it, and see."""

from __future__ import annotations

import dataclasses
import json
import sqlite3

import pytest

from fedethics import charter_sums
from fedethics.errors import RunError
from fedethics.release import evidence, folder
from fedethics.release.receipts import genuine
from fedethics.secagg import CoordinatorRound
from fedethics.secagg.framing import Kind
from tests.coordinator.conftest import SITES, charged


@pytest.fixture
def lies_about(monkeypatch):
    """Make the coordinator tell sums of one task and round with one coordinate one too high."""

    def lie(task: str, number: int) -> None:
        honest = CoordinatorRound.result

        def result(session):
            opened = honest(session)
            asked = (session.aggregate, session.round_number)
            if asked != (task, number) or getattr(session, "_lied", False):
                return opened
            session._lied = True
            total = opened.total.copy()
            total[3] += 1
            message = session._member.message(
                Kind.RESULT,
                total.astype(f"<i{session._spec.word_bits // 8}").tobytes(),
                session=session._sid,
                survivors=list(opened.survivors),
            )
            session._opened = dataclasses.replace(opened, total=total, message=message)
            return session._opened

        monkeypatch.setattr(CoordinatorRound, "result", result)
        monkeypatch.setattr(CoordinatorRound, "_lied", False, raising=False)

    return lie


def _log(stage, site: str) -> list[dict]:
    lines = (stage.homes[site] / "log.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_one_false_sum_told_to_all_is_caught_by_each_who_then_refuses_the_run(
    quick,
    lies_about,
):
    stage = quick.copy()
    lies_about(charter_sums.UPDATE, 1)
    with pytest.raises(RunError, match=r"takes no further part in it \(FE603\)"):
        quick.run(stage)
    for site in SITES:
        (caught,) = [entry for entry in _log(stage, site) if entry["event"] == "false-sum"]
        assert "1 coordinates of leaf 0, the first of them 3" in caught["reason"]
        refusals = [entry for entry in _log(stage, site) if entry.get("code") == "FE603"]
        assert refusals
        assert "sum of update of round 1" in refusals[0]["reason"]
        # It cost what the round had cost, and nothing of the next one.
        assert dict(charged(stage, site)) == {(charter_sums.UPDATE, 1): 1}
        with sqlite3.connect(stage.homes[site] / "secagg.db") as store:
            (signer,) = store.execute("SELECT signer FROM evidence").fetchone()
        assert signer == "coordinator"


def test_no_resume_talks_a_site_out_of_what_it_saw(quick, lies_about):
    stage = quick.copy()
    lies_about(charter_sums.UPDATE, 1)
    for resume in (False, True):
        with pytest.raises(RunError):
            quick.run(stage, resume=resume)
    for site in SITES:
        assert dict(charged(stage, site)) == {(charter_sums.UPDATE, 1): 1}


def test_a_false_last_sum_stands_in_every_sites_receipt(quick, lies_about):
    stage = quick.copy()
    lies_about(charter_sums.FAIRNESS, 2)
    quick.run(stage)
    found = evidence.load(stage.run_dir / folder.EVIDENCE)
    assert len(found.receipts) == len(SITES)
    for signed in found.receipts:
        receipt = genuine(signed, roster_key=signed.public_key)
        said = {(told.kind, told.round): told.slices for told in receipt.sums}
        assert said == {
            (charter_sums.UPDATE, 1): "passed",
            (charter_sums.PROGRESS, 1): "passed",
            (charter_sums.UPDATE, 2): "passed",
            (charter_sums.FAIRNESS, 2): "failed",
        }
