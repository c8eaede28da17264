"""A quorum in the charter: a site that refuses does not end the run, and who is there is enough.

Sites answer with integers in place of trained updates; everything else is real.
"""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import pytest

from fedethics import charter_sums
from fedethics.aggregates.registry import AGGREGATES, aggregate
from fedethics.aggregates.schedule import sum_specs
from fedethics.charter.document import encode, load, load_set
from fedethics.charter.model import Member, quorum_rule
from fedethics.coordinator.cohort import MissingSitesError, cohort_of
from fedethics.errors import CharterError, RunError, SecaggAbort, SecaggReject
from fedethics.privacy.plan import make_plan
from fedethics.protocol import Action
from fedethics.release.evidence import OpenedSum
from fedethics.release.rules.integrity import sum_faults
from fedethics.release.rules.privacy import took_part
from fedethics.secagg.rules import check_subset
from fedethics.simulation.federation import run_federation
from fedethics.site.openings import check_agreed
from tests.coordinator.conftest import SITES, charged
from tests.e2e.conftest import Lab
from tests.privacy.charters import HEART
from tests.secagg.federation import fixed_identity

FAIRNESS, PROGRESS = charter_sums.FAIRNESS, charter_sums.PROGRESS


def with_quorum(charter, quorum=3):
    return dataclasses.replace(charter, secagg=dataclasses.replace(charter.secagg, quorum=quorum))


def charter_of(quorum, *, sites=6, trust="distributed"):
    draft = with_quorum(load(HEART), quorum)
    evaluation = dataclasses.replace(draft.privacy.evaluation, trust_mode=trust)
    roster = tuple(
        Member(site=f"s-{n}", public_key=fixed_identity(f"s-{n}").public_key, declared_records=100)
        for n in range(sites)
    )
    privacy = dataclasses.replace(draft.privacy, evaluation=evaluation)
    return dataclasses.replace(
        draft, privacy=privacy, roster=roster, coordinator_key=fixed_identity("c").public_key
    )


@pytest.fixture(scope="session")
def staged(tmp_path_factory, heart_data, encoder):
    lab = Lab(tmp_path_factory.mktemp("quorum"), heart_data, encoder)
    return lab.stage(noise_seed="7", change=with_quorum)


@pytest.fixture(scope="session")
def kept_jobs(tmp_path_factory):
    return tmp_path_factory.mktemp("kept-quorum")


def test_a_site_that_refuses_is_left_out_and_the_run_ends_over_the_others(quick):
    stage = quick.copy()
    (stage.homes["hungary"] / "policy.toml").unlink()
    run_federation(stage)
    others = sorted(set(SITES) - {"hungary"})
    sums = json.loads((stage.run_dir / "state.json").read_bytes())["sums"]
    assert [one["survivors"] for one in sums if one["kind"] == FAIRNESS] == [others]
    # What is opened in several rounds is over everyone or not at all.
    assert not [one for one in sums if one["kind"] == PROGRESS]
    assert not charged(stage, "hungary")
    assert all(charged(stage, site)[FAIRNESS, 2] == 1 for site in others)


def test_below_the_quorum_nothing_begins(quick):
    stage = quick.copy()
    for site in SITES[:2]:
        (stage.homes[site] / "policy.toml").unlink()
    with pytest.raises(RunError):
        run_federation(stage)
    assert not any(charged(stage, site) for site in SITES)


def test_without_a_quorum_every_count_needs_everyone_and_the_spelling_is_as_before():
    charter = charter_of(None)
    assert all(kind.fewest(charter) in (0, 6) for kind in AGGREGATES.values())
    assert b"quorum" not in encode(load(HEART))
    spec = sum_specs(charter, vector_length=5)[FAIRNESS]
    assert spec.whole_cohort and "at_least" not in spec.document()


def test_only_what_a_run_opens_once_goes_by_the_quorum():
    charter = charter_of(4)
    specs = sum_specs(charter, vector_length=5)
    assert not specs[FAIRNESS].whole_cohort and specs[FAIRNESS].at_least == 4
    assert specs[PROGRESS].whole_cohort and aggregate(PROGRESS).fewest(charter) == 6
    for name, plan in make_plan(charter).sums.items():
        assert not aggregate(name).once or len(plan.rounds) == 1


def test_noise_shares_are_those_of_the_smallest_table_that_can_be_opened():
    """Six sites, one colluder: five shares carry the noise of all, three that of a quorum of 4."""
    whole, quorum = make_plan(charter_of(None)), make_plan(charter_of(4))
    assert whole.fairness.counts.shares == 5 and quorum.fairness.counts.shares == 3
    fewest = 3 * quorum.fairness.counts.site_variance
    assert fewest == pytest.approx(quorum.fairness.counts.std**2)
    local = [make_plan(charter_of(q, trust="local")).fairness.counts for q in (None, 4)]
    assert local[0] == local[1]


def test_coordinator_and_site_agree_on_who_is_enough():
    charter = charter_of(4)
    plan, sites = make_plan(charter), charter.site_names
    rounds = charter.training.rounds
    for count in range(7):
        here = sites[:count]
        opening = SimpleNamespace(run="r", aggregate=FAIRNESS, round_number=rounds, cohort=here)
        request = SimpleNamespace(run="r", action=Action.EVALUATE)
        if count >= 4:
            assert cohort_of(FAIRNESS, rounds, charter=charter, enrolled=here, opened=()) == here
            check_agreed(opening, request, charter=charter, plan=plan)
            continue
        with pytest.raises(MissingSitesError, match="its quorum is 4"):
            cohort_of(FAIRNESS, rounds, charter=charter, enrolled=here, opened=())
        with pytest.raises(SecaggReject, match="quorum"):
            check_agreed(opening, request, charter=charter, plan=plan)


@pytest.mark.parametrize(("left", "opens"), [(6, True), (5, False)])
def test_a_site_keeps_a_sum_closed_that_falls_below_its_quorum(left, opens):
    charter = charter_of(6)  # the threshold alone would do with 5
    terms = charter_sums.secagg_terms(charter, charter_hash="c" * 64)
    spec = sum_specs(charter, vector_length=5)[FAIRNESS]
    sites = list(charter.site_names)

    def check():
        check_subset(
            sites[:left], of=sites, cohort=sites, terms=terms, spec=spec, site=sites[0], stage="x"
        )

    if opens:
        check()
    else:
        with pytest.raises(SecaggAbort, match="the sum stays closed"):
            check()


def test_the_gate_asks_no_receipt_of_a_site_that_no_sum_asked_and_refuses_too_small_a_table():
    charter = charter_of(4)
    sites = charter.site_names

    def entry(count):
        return OpenedSum(
            round=charter.training.rounds, kind=FAIRNESS, session="0" * 64, cohort=sites[:count],
            survivors=sites[:count], dropped=(), sum_sha256="0" * 64,
        )  # fmt: skip

    for count, faults in ((6, 0), (4, 0), (3, 1)):
        evidence = SimpleNamespace(rounds=(entry(count),))
        folder = SimpleNamespace(charter=charter, evidence=evidence)
        found = [one for one in sum_faults(charter, entry(count)) if "quorum" in one]
        assert len(found) == faults
        assert took_part(folder) == sites[:count]
    folder = SimpleNamespace(charter=charter_of(None), evidence=evidence)
    assert took_part(folder) == sites


def test_a_quorum_that_cannot_be_is_refused_by_name():
    with pytest.raises(CharterError, match="below minimum-cohort") as refused:
        load_set(HEART, {"secagg.minimum-cohort": 4, "secagg.quorum": 3})
    assert "quorum 3" in str(refused.value)
    (problem,) = quorum_rule(charter_of(None).roster, charter_of(7).secagg)
    assert "the roster has 6 sites" in problem
