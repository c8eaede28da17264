"""A federation in which half of the sites train in a round: sums, charges, refusals, resume.

Sites answer with integers in place of trained updates; everything else is real.
"""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest

from fedethics import charter_sums
from fedethics.canonical import sha256_hex
from fedethics.charter.cohorts import drawn, rounds_of
from fedethics.coordinator.cohort import MissingSitesError, cohort_of
from fedethics.coordinator.transport import no_fault
from fedethics.errors import RunError, SecaggReject
from fedethics.privacy.plan import make_plan
from fedethics.protocol import Action
from fedethics.release.evidence import OpenedSum
from fedethics.release.rules.integrity import sum_faults
from fedethics.simulation import faults, staging
from fedethics.simulation.faults import faults_of
from fedethics.simulation.federation import run_federation
from fedethics.simulation.scenario import load
from fedethics.site.openings import check_agreed
from tests import small_encoder
from tests.coordinator.conftest import CoordinatorDied, charged, numbers
from tests.e2e.conftest import ROOT, _small, _with_policy

SITES = tuple(f"clinic-{letter}" for letter in "abcdef")
UPDATE = charter_sums.UPDATE


@pytest.fixture(scope="session")
def staged(tmp_path_factory, heart_data, encoder):
    """Six sites in two cohorts, over four rounds; clinics share the four hospitals' files."""
    path = tmp_path_factory.mktemp("crowd")
    scenario, draft = load(ROOT / "configs" / "heart.toml")
    draft = dataclasses.replace(draft, model=encoder, adapter=small_encoder.ADAPTER)
    draft = _small(draft, dp=True)
    training = dataclasses.replace(draft.training, rounds=4, sites_per_round=3)
    draft = dataclasses.replace(draft, training=training)
    policy = (ROOT / "configs" / "policy.hospital.toml").read_text()
    (path / "policy.toml").write_text(
        policy.replace("[minimum]", "fixed-noise = true\n\n[minimum]")
    )
    scenario = _with_policy(scenario, "7")
    sites = tuple(
        dataclasses.replace(scenario.sites[place % 4], name=name)
        for place, name in enumerate(SITES)
    )
    scenario = dataclasses.replace(scenario, sites=sites)
    return staging.build(scenario, draft, base=path, data_dir=heart_data, run_dir=path / "run")


@pytest.fixture(scope="session")
def kept_jobs(tmp_path_factory):
    return tmp_path_factory.mktemp("kept-crowd")


def run(quick, *, lose=(), lost=no_fault, resume=False, stage=None):
    stage = stage or quick.copy()
    if not resume:
        faults.keep(faults_of(lose, [], [], charter=stage.charter), stage.coordinator)
    run_federation(stage, lost=lost, resume=resume)
    return stage


def updates(stage):
    """The update sums on record, by round."""
    state = json.loads((stage.run_dir / "state.json").read_bytes())
    return {one["round"]: one for one in state["sums"] if one["kind"] == UPDATE}


def adapters(stage):
    return [(stage.run_dir / "rounds" / f"adapter-{n:04d}.f32").read_bytes() for n in range(1, 5)]


def test_each_sum_is_over_the_sites_that_are_drawn_and_each_pays_for_its_own_rounds(quick, learned):
    stage = run(quick)
    found = updates(stage)
    assert set(found) == {1, 2, 3, 4}
    for number, one in found.items():
        cohort = list(drawn(stage.charter, number))
        assert one["cohort"] == one["survivors"] == cohort
        opening = SimpleNamespace(aggregate=UPDATE, round_number=number)
        by_hand = np.zeros(learned.size, dtype=np.int64)
        for site in cohort:
            by_hand += numbers(site, opening, learned.size)
        assert one["sum-sha256"] == sha256_hex(by_hand.astype("<i8").tobytes())
    for site in SITES:
        paid = charged(stage, site)
        trained = {number: times for (kind, number), times in paid.items() if kind == UPDATE}
        assert trained == dict.fromkeys(rounds_of(stage.charter, site), 1)
        assert len(trained) == 2
        assert paid[charter_sums.FAIRNESS, 4] == 1  # the tables are over everyone


def test_a_resumed_run_draws_the_same_and_ends_as_if_nothing_had_happened(quick):
    whole = run(quick)
    asked = []

    def dies(_site, request):
        asked.append(request.action)
        if asked.count(Action.TRAIN) == 7:  # the first of the third round
            raise CoordinatorDied
        return False

    stage = quick.copy()
    with pytest.raises(CoordinatorDied):
        run(quick, stage=stage, lost=dies)
    assert set(updates(stage)) == {1, 2}
    run(quick, stage=stage, resume=True)
    assert adapters(stage) == adapters(whole)
    assert all(charged(stage, site) == charged(whole, site) for site in SITES)


def test_a_site_that_is_lost_in_its_round_ends_a_cohort_of_the_minimum_and_charges_nobody_else(
    quick,
):
    """Three of three are needed: the sum stays closed, and the other cohort is not asked for it."""
    site = SITES[0]
    number = rounds_of(quick.template.charter, site)[0]
    stage = quick.copy()
    with pytest.raises(RunError, match=f"round {number}"):
        run(quick, stage=stage, lose=[f"{site}@{number}"])
    cohort = drawn(stage.charter, number)
    for other in set(SITES) - set(cohort):
        assert charged(stage, other)[UPDATE, number] == 0


def test_a_fault_in_a_round_that_a_site_is_not_drawn_for_is_refused(staged):
    site = SITES[0]
    rounds = rounds_of(staged.charter, site)
    out = next(number for number in range(1, 5) if number not in rounds)
    with pytest.raises(RunError, match="is not drawn for that round") as refused:
        faults_of([f"{site}@{out}"], [], [], charter=staged.charter)
    assert ", ".join(map(str, rounds)) in str(refused.value)


@pytest.mark.parametrize("change", ["all", "the other cohort", "one of the other cohort"])
def test_a_site_refuses_a_cohort_that_is_not_the_draws(staged, change):
    charter, plan = staged.charter, make_plan(staged.charter)
    mine, other = drawn(charter, 1), tuple(sorted(set(SITES) - set(drawn(charter, 1))))
    cohort = {
        "all": SITES,
        "the other cohort": other,
        "one of the other cohort": (*mine, other[0]),
    }[change]
    request = SimpleNamespace(run="r", action=Action.TRAIN)

    def opened(sites):
        return SimpleNamespace(run="r", aggregate=UPDATE, round_number=1, cohort=sites)

    check_agreed(opened(mine), request, charter=charter, plan=plan)
    check_agreed(opened(mine[:2]), request, charter=charter, plan=plan)  # one did not enrol
    with pytest.raises(SecaggReject, match="the charter's draw has others train"):
        check_agreed(opened(cohort), request, charter=charter, plan=plan)


def test_a_coordinator_asks_the_draw_and_says_who_of_it_is_missing(staged):
    charter = staged.charter
    cohort = drawn(charter, 2)
    asked = cohort_of(UPDATE, 2, charter=charter, enrolled=SITES, opened=())
    assert asked == cohort
    here = set(SITES) - {cohort[0]}
    with pytest.raises(MissingSitesError, match="2 sites are there of the 3 that are drawn") as no:
        cohort_of(UPDATE, 2, charter=charter, enrolled=here, opened=())
    assert no.value.missing == (cohort[0],)


def test_the_gate_finds_a_sum_that_was_asked_of_another_cohort(staged):
    for number, fault in ((1, False), (2, True)):
        cohort = drawn(staged.charter, 1)
        entry = OpenedSum(
            round=number, kind=UPDATE, session="0" * 64, cohort=cohort, survivors=cohort,
            dropped=(), sum_sha256="0" * 64,
        )  # fmt: skip
        found = [
            one for one in sum_faults(staged.charter, entry) if "not drawn for the round" in one
        ]
        assert bool(found) is fault
