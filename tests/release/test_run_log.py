"""What the event log says of a run, told from made-up logs whose truth is known."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from fedethics.coordinator.events import EventLog
from fedethics.release.run_log import EVENTS, follow, read_events
from tests.cli.conftest import fedethics  # noqa: F401  fixture

START = datetime(2026, 1, 1, tzinfo=UTC)


def log(path, *events):
    """Write events, each (seconds, name, fields)."""
    lines = [
        json.dumps({"time": (START + timedelta(seconds=s)).isoformat(), "event": name, **fields})
        for s, name, fields in events
    ]
    (path / EVENTS).write_text("\n".join(lines) + "\n")


SITES = ["a", "b", "c"]
TWO_ROUNDS = (
    (0, "enrolling", {"expected": 3}),
    (1, "run", {"rounds": 4, "sites": SITES}),
    (10, "round-started", {"round": 1}),
    (30, "round-committed", {"round": 1, "survivors": SITES, "dropped": {}}),
    (31, "metrics", {"round": 1, "accuracy": {"value": 0.7, "low": 0.6, "high": 0.8}}),
    (40, "round-started", {"round": 2}),
    (80, "round-committed", {"round": 2, "survivors": ["a", "b"], "dropped": {"c": "masked"}}),
)


def test_what_the_coordinator_writes_is_what_is_read(tmp_path):
    EventLog(tmp_path).write("enrolling", expected=3)
    EventLog(tmp_path).write("run", rounds=2, sites=SITES)
    run = follow(read_events(tmp_path))
    assert (run.state, run.rounds, run.sites) == ("training", 2, tuple(SITES))


def test_the_time_left_is_the_median_round_times_the_rounds_left(tmp_path):
    log(tmp_path, *TWO_ROUNDS)
    run = follow(read_events(tmp_path))
    assert run.committed == 2
    assert run.left_s == pytest.approx(2 * 30)  # median of 20 s and 40 s


def test_a_lost_site_and_a_measurement_are_shown_with_their_round(tmp_path):
    log(tmp_path, *TWO_ROUNDS)
    run = follow(read_events(tmp_path))
    assert run.seen[2].dropped == {"c": "masked"}
    assert run.seen[1].accuracy == (0.7, 0.6, 0.8)
    assert run.seen[2].accuracy is None


def test_a_resumed_run_counts_a_round_once(tmp_path):
    again = (
        (100, "enrolling", {"expected": 3}),
        (101, "run", {"rounds": 4, "sites": SITES}),
        (102, "round-started", {"round": 3}),
    )
    log(tmp_path, *TWO_ROUNDS, (90, "round-started", {"round": 3}), *again)
    run = follow(read_events(tmp_path))
    assert (run.starts, run.committed, len(run.seen)) == (2, 2, 3)


def test_a_refusal_is_forgotten_when_the_run_begins_again(tmp_path):
    refused = (1, "refused", {"site": "node 7", "code": "FE202", "sentence": "no"})
    log(tmp_path, (0, "enrolling", {"expected": 3}), refused)
    assert follow(read_events(tmp_path)).refusals == {"node 7": "[FE202] no"}
    log(tmp_path, (0, "enrolling", {"expected": 3}), refused, (5, "enrolling", {"expected": 3}))
    assert follow(read_events(tmp_path)).refusals == {}


def test_a_line_torn_by_a_crash_hides_nothing_after_it(tmp_path):
    log(tmp_path, *TWO_ROUNDS)
    path = tmp_path / EVENTS
    whole = path.read_text().splitlines()
    whole[2] = whole[2][:20]
    path.write_text("\n".join(whole) + '\n{"time": "2026')
    assert follow(read_events(tmp_path)).committed == 2


def test_an_event_of_a_later_version_is_passed_over(tmp_path):
    log(tmp_path, *TWO_ROUNDS, (90, "something-new", {"x": 1}))
    run = follow(read_events(tmp_path))
    assert run.committed == 2
    assert run.last == START + timedelta(seconds=90)


def test_a_closed_run_shows_its_verdict_and_no_time_left(tmp_path, fedethics):  # noqa: F811
    log(tmp_path, *TWO_ROUNDS, (99, "closed", {"verdict": "pass"}))
    found = fedethics("federation", "status", "--job", tmp_path, "--json").json
    assert (found["state"], found["verdict"], found["seconds-left"]) == ("closed", "pass", 0.0)
    shown = fedethics("federation", "status", "--job", tmp_path, "--follow").out
    assert "gate: pass" in shown


def test_a_run_that_has_fallen_silent_says_so(tmp_path, fedethics):  # noqa: F811
    log(tmp_path, *TWO_ROUNDS)
    shown = fedethics("federation", "status", "--job", tmp_path).out
    assert "2 of 4 rounds committed" in shown
    assert "No entry in the log for" in shown


def test_a_directory_that_is_none_is_refused(tmp_path, fedethics):  # noqa: F811
    assert fedethics("federation", "status", "--job", tmp_path / "no").exit_code == 2
