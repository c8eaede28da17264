"""After too few answers, an operator is told what would help, and nothing that would not."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedethics.coordinator.refusals import NOT_CONNECTED, UNSOUND, of_sites, what_to_do

ROSTER = ("hungary", "cleveland", "va", "basel")

WHEN_BACK = "Resume the job when the sites are back."


def test_silence_is_waited_for():
    told = what_to_do({"hungary": "no answer in time", "cleveland": "late"})
    assert told == f"No answer came from cleveland, hungary. {WHEN_BACK}"
    assert what_to_do({}) == WHEN_BACK


def test_a_site_that_is_not_connected_was_not_asked():
    told = what_to_do({"hungary": NOT_CONNECTED})
    assert told == f"Not asked, because not connected: hungary. {WHEN_BACK}"


@pytest.mark.parametrize("others", [{}, {"va": "late"}, {"va": NOT_CONNECTED}, {"va": UNSOUND}])
def test_a_refusal_is_told_once_by_its_reason_and_its_site_is_not_waited_for(others):
    told = what_to_do({"hungary": "FE202", "cleveland": "FE203", **others})
    assert "cleveland, the site's records do not allow this (FE203); hungary, the" in told
    assert told.count("log.jsonl") == told.count("own log") == 1
    # One sentence says when to resume, and it waits for no site that has refused.
    assert told.count("Resume") == 1 and WHEN_BACK not in told
    last = told.split("Resume the job when ")[1]
    assert re.search(r"operators of [^.]*cleveland, hungary", last)
    assert ("va answer again and " in last) == (others.get("va") in {"late", NOT_CONNECTED})


@settings(max_examples=60)
@given(
    st.sets(st.sampled_from(ROSTER), min_size=1),
    st.dictionaries(
        st.sampled_from((*ROSTER, "node 1", "node 2")),
        st.sampled_from(["FE202", "FE203", "FE301", "FE601", UNSOUND, "late", "flower-3"]),
    ),
)
def test_whoever_is_missing_is_named_once_with_one_reason(missing, refusals):
    codes = of_sites(missing, refusals, roster=ROSTER)
    told = what_to_do(codes).split("Resume")[0]
    assert set(codes) == missing
    assert all(told.count(site) == 1 for site in missing)
    assert not any(site in told for site in set(ROSTER) - missing)


def test_only_sites_that_all_saw_it_before_speak_of_an_older_copy():
    assert "older copy" in what_to_do({"hungary": "FE601", "cleveland": "FE602"})
    assert "older copy" not in what_to_do({"hungary": "FE601", "cleveland": "FE202"})


def test_a_code_that_this_version_does_not_know_is_told_as_it_is():
    assert "hungary, the site could not do this (FE999)" in what_to_do({"hungary": "FE999"})


def test_sites_that_wait_to_be_told_a_sum_need_nothing_but_a_resume():
    told = what_to_do({"hungary": "FE604", "cleveland": "FE604"})
    assert "receive the sums that they wait for" in told
    assert "have corrected this" in what_to_do({"hungary": "FE604", "b": "FE301"})
