"""The coordinator's log: what it keeps, what a power cut leaves of it, and what it refuses."""

from __future__ import annotations

import errno
import hashlib
import os
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedethics.errors import RunError
from fedethics.secagg.coordinator_log import CoordinatorLog
from tests.secagg.federation import Federation, random_vectors, run_round, spec_of

SPEC = spec_of(40)
MESSAGES = [b"one", b"two" * 1000, bytes(70_000), b"four"]


def _written(path, messages=MESSAGES) -> CoordinatorLog:
    log = CoordinatorLog.create(path)
    for message in messages:
        log.append(message, durable=True)
    return log


def _read(log: CoordinatorLog) -> list[bytes]:
    found = []
    while (message := log.upcoming()) is not None:
        found.append(message)
        log.append(message)
    return found


def test_what_was_appended_is_read_again_in_order(tmp_path):
    _written(tmp_path / "log")
    assert _read(CoordinatorLog.open(tmp_path / "log")) == MESSAGES


def test_only_its_owner_can_read_it(tmp_path):
    _written(tmp_path / "folder" / "log")
    assert stat.S_IMODE((tmp_path / "folder" / "log").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o700


@settings(deadline=None, max_examples=60)
@given(cut=st.integers(min_value=0, max_value=73_100))
def test_however_it_is_cut_short_the_whole_messages_before_the_cut_are_there(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("cut") / "log"
    _written(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    log, ends, end = CoordinatorLog.open(path), [], 8
    for message in MESSAGES:
        end += 8 + len(message)
        ends.append(end)
    kept = [message for message, end in zip(MESSAGES, ends, strict=True) if end <= cut]
    assert _read(log) == kept
    # Writing goes on behind the last whole message, and what the cut left is gone.
    log.append(b"next", durable=True)
    assert _read(CoordinatorLog.open(path)) == [*kept, b"next"]


def test_a_message_whose_bytes_changed_ends_the_log(tmp_path):
    path = tmp_path / "log"
    _written(path)
    data = bytearray(path.read_bytes())
    data[8 + 8 + 3 + 8 + 5] ^= 1
    path.write_bytes(bytes(data))
    assert _read(CoordinatorLog.open(path)) == MESSAGES[:1]


def test_a_replay_that_gives_another_message_is_stopped(tmp_path):
    _written(tmp_path / "log")
    log = CoordinatorLog.open(tmp_path / "log")
    log.append(MESSAGES[0])
    with pytest.raises(RunError, match="does not lead to the message"):
        log.append(b"another")


def test_another_file_is_no_log_and_is_left_alone(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"something else entirely")
    with pytest.raises(RunError, match="not a log of this version"):
        CoordinatorLog.open(path)
    with pytest.raises(RunError, match="cannot be begun"):
        CoordinatorLog.create(path)
    assert path.read_bytes() == b"something else entirely"


def test_on_a_full_disk_nothing_is_sent_and_the_log_stays_whole(tmp_path, monkeypatch):
    log = _written(tmp_path / "log")

    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(RunError, match="No space left"):
            log.append(b"too much", durable=True)
    log.append(b"fits", durable=True)
    assert _read(CoordinatorLog.open(tmp_path / "log")) == [*MESSAGES, b"fits"]


@pytest.mark.parametrize("terms", [{}, {"mode": "fast"}, {"suite": 3}, {"recovery": "classic"}])
def test_a_session_taken_up_again_sends_what_it_would_have_sent(tmp_path, terms):
    federation = Federation(tmp_path / "sites", 5, **terms)
    epoch_log = tmp_path / "epoch"
    federation.coordinator._log = CoordinatorLog.create(epoch_log)
    federation.join()
    session = federation.coordinator.open(
        spec=SPEC, round_number=0, model_hash="ab" * 32, cohort=federation.names,
        keep=tmp_path / "session",
    )  # fmt: skip
    vectors = random_vectors(federation.names, SPEC)
    drops = {"masked": ["site-04"]}
    opened, _ = run_round(federation, session, vectors, SPEC, drops=drops)
    asked = federation.restarted("site-00").slice_request(
        hashlib.sha256(session.open_message).hexdigest()
    )
    data = (tmp_path / "session").read_bytes()
    epoch = federation.coordinator.__class__(
        identity=federation.key, terms=federation.terms, log=CoordinatorLog.open(epoch_log)
    )
    again = epoch.reopen(tmp_path / "session", specs={SPEC.name: SPEC})
    assert again.result().message == opened.message
    assert again.slice(asked) == session.slice(asked)
    assert (tmp_path / "session").read_bytes() == data
    assert again.cohort == session.cohort


def test_a_session_of_another_epoch_is_not_taken_up(tmp_path):
    federation = Federation(tmp_path / "sites", 4)
    federation.join()
    federation.coordinator.open(
        spec=SPEC, round_number=0, model_hash="ab" * 32, cohort=federation.names,
        keep=tmp_path / "session",
    )  # fmt: skip
    other = Federation(tmp_path / "others", 4)
    other.join("run/1")
    with pytest.raises(RunError, match="another one"):
        other.coordinator.reopen(tmp_path / "session", specs={SPEC.name: SPEC})


def test_a_log_without_what_came_before_leads_nowhere(tmp_path):
    federation = Federation(tmp_path / "sites", 4)
    federation.join()
    session = federation.coordinator.open(
        spec=SPEC, round_number=0, model_hash="ab" * 32, cohort=federation.names,
        keep=tmp_path / "session",
    )  # fmt: skip
    run_round(federation, session, random_vectors(federation.names, SPEC), SPEC)
    messages = _read(CoordinatorLog.open(tmp_path / "session"))
    _written(tmp_path / "gap", [messages[0], *messages[2:]])  # one SHARE is missing
    with pytest.raises(RunError, match="does not"):
        federation.coordinator.reopen(tmp_path / "gap", specs={SPEC.name: SPEC})
