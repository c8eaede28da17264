"""What a site's journal keeps of the adapter that it derived: one, once its sum is believed."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest

from fedethics.site.journal import Derived, Journal, Question

CHARTER, RUN = "ab" * 32, "run"
START = np.arange(5, dtype=np.float32)


def _question(task: str, number: int) -> Question:
    return Question(charter_hash=CHARTER, run=RUN, aggregate=task, round_number=number)


@pytest.fixture
def journal(tmp_path):
    made = Journal(tmp_path / "journal.db")
    made.derive(_question("update", 1), Derived(round_number=0, vector=START, held=True))
    return made


def _newest(journal: Journal):
    found = journal.derived(charter_hash=CHARTER, run=RUN)
    return found and (found.round_number, found.vector.tolist(), found.held)


def _tell(journal: Journal, number: int, vector, *, believed: bool = False) -> str:
    question, session = _question("update", number), f"session {number}"
    journal.opened(question, sum_sha256="cd" * 32, adapter=vector, believed=believed)
    journal.ask_for_check(question, session_id=session)
    return session


def test_what_a_sum_leads_to_counts_only_once_the_sum_has_passed(journal):
    session = _tell(journal, 1, START + 1)
    assert _newest(journal) == (0, START.tolist(), True)
    journal.begin_check(session)
    assert _newest(journal) == (0, START.tolist(), True)  # died in the middle of the check
    journal.end_check(session, "passed")
    assert _newest(journal) == (1, (START + 1).tolist(), False)


def test_what_a_false_sum_leads_to_never_counts(journal):
    session = _tell(journal, 1, START + 1)
    journal.begin_check(session)
    journal.end_check(session, "failed")
    journal.end_check(session, "passed")
    assert _newest(journal) == (0, START.tolist(), True)


def test_a_sum_told_again_changes_nothing_of_what_counts(journal):
    session = _tell(journal, 1, START + 1)
    journal.begin_check(session)
    journal.end_check(session, "passed")
    _tell(journal, 1, START + 9)
    journal.begin_check(session)
    journal.end_check(session, "passed")
    assert _newest(journal) == (1, (START + 1).tolist(), False)


def test_a_charter_without_checks_believes_what_is_told(journal):
    _tell(journal, 1, START + 1, believed=True)
    assert _newest(journal) == (1, (START + 1).tolist(), False)


def test_one_adapter_is_kept_and_the_hashes_of_those_before(journal):
    for number in (1, 2, 3):
        session = _tell(journal, number, START + number)
        journal.begin_check(session)
        journal.end_check(session, "passed")
        held = Derived(round_number=number, vector=START + number, held=True)
        journal.derive(_question("update", number + 1), held)
        with sqlite3.connect(journal.path) as connection:
            kept = connection.execute("SELECT round FROM derived WHERE words != x''").fetchall()
        assert kept == [(number,)]
    hashes = [
        journal.derived_sha256(charter_hash=CHARTER, run=RUN, round_number=n) for n in range(5)
    ]
    assert len({one for one in hashes if one}) == 4
    assert hashes[4] is None


def test_after_the_last_sum_no_adapter_is_kept(journal):
    session = _tell(journal, 1, START + 1)
    journal.begin_check(session)
    journal.end_check(session, "passed")
    journal.derive(_question("fairness", 1), Derived(round_number=1, vector=START, held=True))
    journal.opened(_question("fairness", 1), sum_sha256="ef" * 32)
    journal.ask_for_check(_question("fairness", 1), session_id="tables")
    journal.begin_check("tables")
    journal.end_check("tables", "passed")
    assert _newest(journal) is None
    assert journal.derived_sha256(charter_hash=CHARTER, run=RUN, round_number=1)
    assert START.tobytes() not in journal.path.read_bytes()  # overwritten, not merely unlinked


def test_runs_and_charters_do_not_share_an_adapter(journal):
    other = Question(charter_hash=CHARTER, run="other", aggregate="update", round_number=1)
    journal.derive(other, Derived(round_number=4, vector=START + 4, held=True))
    assert _newest(journal) == (0, START.tolist(), True)
    assert journal.derived(charter_hash="ef" * 32, run=RUN) is None
