"""Cohorts drawn for a round follow from what all signed, share no site and take turns."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedethics.charter import document
from fedethics.charter.cohorts import cohorts_of, drawn, most_rounds, rounds_of, words
from fedethics.charter.document import load, load_set
from fedethics.charter.model import Member, cohort_rule
from fedethics.errors import CharterError
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.plan import make_plan
from tests.privacy.charters import HEART

DRAFT = load(HEART)


def crowd(sites: int, per_round: int | None, *, rounds: int, keys: str = "a", seed: int = 1):
    """A charter of so many sites; `keys` begins each public key."""
    roster = tuple(
        Member(site=f"site-{n:04d}", public_key=f"{keys}{n:063x}", declared_records=100)
        for n in range(sites)
    )
    training = dataclasses.replace(DRAFT.training, rounds=rounds, sites_per_round=per_round)
    adapter = dataclasses.replace(DRAFT.adapter, seed=seed)
    return dataclasses.replace(DRAFT, roster=roster, training=training, adapter=adapter)


@given(
    sites=st.integers(6, 60),
    per_round=st.integers(3, 30),
    rounds=st.integers(1, 40),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_the_roster_is_dealt_once_and_the_cohorts_take_turns(sites, per_round, rounds, seed):
    per_round = min(per_round, sites // 2)
    charter = crowd(sites, per_round, rounds=rounds, seed=seed)
    cohorts = cohorts_of(charter)
    assert sorted(site for cohort in cohorts for site in cohort) == sorted(charter.site_names)
    assert len(cohorts) == charter.cohorts == sites // per_round
    assert all(len(cohort) >= per_round for cohort in cohorts)
    asked = [drawn(charter, number) for number in range(1, rounds + 1)]
    for first in range(0, rounds, len(cohorts)):  # each pass asks each cohort at most once
        in_pass = asked[first : first + len(cohorts)]
        assert len(set(in_pass)) == len(in_pass) and set(in_pass) <= set(cohorts)
    counted = Counter(site for cohort in asked for site in cohort)
    assert max(counted.values()) <= most_rounds(charter)
    assert all(counted[site] == len(rounds_of(charter, site)) for site in charter.site_names)
    assert max(counted.values()) - min(counted[site] for site in charter.site_names) <= 1


def test_the_draw_follows_from_signed_terms_and_from_no_key_or_order():
    first = crowd(24, 5, rounds=9)
    other_keys = crowd(24, 5, rounds=9, keys="b")
    turned = dataclasses.replace(first, roster=first.roster[::-1])
    for number in range(1, 10):
        assert drawn(first, number) == drawn(other_keys, number) == drawn(turned, number)
    again = crowd(24, 5, rounds=9, seed=2)
    assert [drawn(again, n) for n in range(1, 10)] != [drawn(first, n) for n in range(1, 10)]


def test_passes_do_not_repeat_one_order():
    charter = crowd(40, 4, rounds=40)
    passes = [tuple(drawn(charter, 10 * done + n) for n in range(1, 11)) for done in range(4)]
    assert len(set(passes)) == 4


def test_without_the_key_every_site_trains_in_each_round_and_the_spelling_is_as_before():
    charter = crowd(7, None, rounds=3)
    assert all(drawn(charter, number) == charter.site_names for number in (1, 2, 3))
    assert most_rounds(charter) == 3 and words(charter) == ""
    assert b"sites-per-round" not in document.encode(DRAFT)


def test_a_site_pays_for_the_rounds_that_it_trains_in_and_the_draw_is_no_sampling():
    """20 rounds of 4 cohorts cost a site what 5 rounds cost, at the full sampling rate."""
    turns = make_plan(crowd(16, 4, rounds=20))
    alone = make_plan(crowd(16, None, rounds=5))
    assert turns.update.noise_multiplier == alone.update.noise_multiplier
    assert turns.training.events == alone.training.events
    assert turns.update.event.sampling_rate == DRAFT.privacy.training.sampling_rate
    assert epsilon(turns.training.events, delta=turns.delta) <= DRAFT.privacy.training.epsilon
    assert turns.update.rounds == tuple(range(1, 21))


@pytest.mark.parametrize(
    ("sites", "per_round", "rounds", "why"),
    [
        (8, 5, 8, "Ask for at most 4"),
        (8, 4, 1, "some would never train"),
        (1200, 550, 8, "a ring of its own"),
    ],
)
def test_cohorts_that_cannot_be_are_refused_by_name(sites, per_round, rounds, why):
    training = dataclasses.replace(DRAFT.training, rounds=rounds, sites_per_round=per_round)
    roster = crowd(sites, None, rounds=rounds).roster
    (problem,) = cohort_rule(roster, training)
    assert why in problem and f"sites-per-round: {per_round}" in problem


def test_a_draft_is_checked_as_far_as_it_can_be():
    with pytest.raises(CharterError, match="minimum-cohort") as refused:
        load_set(HEART, {"training.sites-per-round": 2})
    assert "sites-per-round: 2" in str(refused.value)
    assert load_set(HEART, {"training.sites-per-round": 3}).training.sites_per_round == 3
