"""After too few answers, an operator is told what would help, and nothing that would not."""

from __future__ import annotations

from server.refusals import what_to_do

WHEN_BACK = "Resume the job when the sites are back."


def test_silence_is_waited_for():
    told = what_to_do({"hungary": "no answer in time", "cleveland": "its node is not connected"})
    assert told == f"No answer came from cleveland, hungary. {WHEN_BACK}"
    assert what_to_do({}) == WHEN_BACK


def test_a_refusal_is_told_by_its_reason_and_its_site_is_not_waited_for():
    told = what_to_do({"hungary": "FE202", "cleveland": "FE301"})
    assert "cleveland, the site's privacy budget does not allow this (FE301); hungary, the" in told
    assert "when their operators have put that right" in told
    assert "back" not in told
    assert told.count("log.jsonl") == 1


def test_silence_and_refusal_are_told_apart():
    told = what_to_do({"hungary": "FE202", "cleveland": "no answer in time"})
    assert f"No answer came from cleveland. {WHEN_BACK} These refused" in told
    assert "hungary, the site's policy does not allow this (FE202)" in told


def test_only_sites_that_all_saw_it_before_speak_of_an_older_copy():
    assert "older copy" in what_to_do({"hungary": "FE601", "cleveland": "FE602"})
    assert "older copy" not in what_to_do({"hungary": "FE601", "cleveland": "FE202"})


def test_a_code_that_this_version_does_not_know_is_told_as_it_is():
    assert "hungary, the site could not do this (FE999)" in what_to_do({"hungary": "FE999"})
