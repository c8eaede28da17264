"""Charter, plan and permit count honest sites alike, and a charter that leaves one is refused."""

from __future__ import annotations

import dataclasses

import pytest

from fedethics.charter import document
from fedethics.charter.model import Charter, Member
from fedethics.errors import CharterError
from fedethics.identity import Identity
from fedethics.privacy.plan import make_plan
from fedethics.secagg.honest_sites import fewest_in_any_sum
from tests.privacy.charters import HEART, UNAUDITED, with_terms

KEYS = [Identity.generate().public_key for _ in range(503)]


def charter_of(sites: int, *, mode: str, minimum: int, colluders: int, **terms) -> Charter:
    draft = with_terms(
        document.load(HEART),
        audit=UNAUDITED,
        evaluation={"trust_mode": "distributed"},
        **terms,
    )
    roster = tuple(
        Member(site=f"site-{k}", public_key=KEYS[k], declared_records=100) for k in range(sites)
    )
    people = tuple(
        dataclasses.replace(one, public_key=KEYS[-2]) for one in draft.ethics.stakeholders[:1]
    )
    return dataclasses.replace(
        draft,
        roster=roster,
        coordinator_key=KEYS[-1],
        ethics=dataclasses.replace(draft.ethics, stakeholders=people),
        secagg=dataclasses.replace(
            draft.secagg, mode=mode, minimum_cohort=minimum, colluders=colluders
        ),
    )


@pytest.mark.parametrize("mode", ["strict", "fast"])
@pytest.mark.parametrize(
    ("sites", "minimum", "colluders"),
    [(4, 3, 1), (7, 4, 2), (7, 5, 2), (7, 7, 2), (10, 8, 2), (12, 6, 1), (30, 20, 3), (30, 20, 9)],
)
def test_a_charter_is_valid_only_where_two_honest_sites_are_in_every_sum(
    sites, minimum, colluders, mode
):
    charter = charter_of(sites, mode=mode, minimum=minimum, colluders=colluders)
    fewest = fewest_in_any_sum(
        sites, colluders=colluders, minimum=minimum, mode=mode, whole_roster=False
    )
    if fewest >= 2:
        assert document.parse(document.encode(charter)) == charter
        return
    with pytest.raises(CharterError, match="one honest site alone"):
        document.parse(document.encode(charter))


@pytest.mark.parametrize("mode", ["strict", "fast"])
@pytest.mark.parametrize(
    ("sites", "minimum", "colluders"), [(4, 3, 1), (12, 6, 1), (10, 10, 2), (30, 20, 3)]
)
def test_noise_is_planned_for_the_fewest_honest_sites_of_each_kind_of_sum(
    sites, minimum, colluders, mode
):
    distributed = {"trust_mode": "distributed", "adaptive_quantile": 0.0}
    plan = make_plan(
        charter_of(sites, mode=mode, minimum=minimum, colluders=colluders, training=distributed)
    )
    numbers = {"colluders": colluders, "minimum": minimum, "mode": mode}
    updates = fewest_in_any_sum(sites, whole_roster=False, **numbers)
    counts = fewest_in_any_sum(sites, whole_roster=True, **numbers)
    assert plan.update.shares == updates
    assert plan.fairness.counts.shares == plan.steering.noise.shares == counts == sites - colluders


@pytest.mark.parametrize(("sites", "delta", "valid"), [(500, 1e-9, True), (501, 1e-6, True)])
def test_shared_noise_on_a_ring_is_taken_where_a_broken_ring_hides_in_delta(sites, delta, valid):
    charter = charter_of(sites, mode="strict", minimum=400, colluders=3, delta=delta)
    assert (document.parse(document.encode(charter)) == charter) is valid


def test_shared_noise_on_a_ring_is_refused_where_a_broken_ring_would_be_seen_beside_delta():
    charter = charter_of(501, mode="strict", minimum=400, colluders=3, delta=1e-9)
    with pytest.raises(CharterError, match="a ring fails with probability"):
        document.parse(document.encode(charter))


def test_fast_mode_is_refused_above_the_sites_that_all_share_masks():
    charter = charter_of(501, mode="fast", minimum=450, colluders=1)
    with pytest.raises(CharterError, match="above 500 the survivors"):
        document.parse(document.encode(charter))
