"""`--lose`, `--late` and `--poison`: each ends as docs/research.md says.

Sites answer with integers in place of trained updates; everything else is real.
"""

from __future__ import annotations

import numpy as np
import pytest

from fedethics import charter_sums
from fedethics.errors import RunError
from fedethics.release.run_log import read_events
from fedethics.simulation import faults
from fedethics.simulation.faults import POISONS, Faults, faults_of, kept
from fedethics.simulation.federation import run_federation
from tests.coordinator.conftest import charged

SITE = "hungary"
UPDATE_1, UPDATE_2 = (charter_sums.UPDATE, 1), (charter_sums.UPDATE, 2)


def disturbed(quick, *, lose=(), late=(), poison=()):
    """Run a job with faults, as the command does; return its stage and its rounds."""
    stage = quick.copy()
    asked = faults_of(lose, late, poison, charter=stage.charter)
    faults.keep(asked, stage.coordinator)
    assert kept(stage.coordinator) == asked
    run_federation(stage)
    events = list(read_events(stage.run_dir))
    return stage, {e["round"]: e for e in events if e["event"] == "round-committed"}, events


def final(stage) -> bytes:
    return (stage.run_dir / "rounds" / "adapter-0002.f32").read_bytes()


def test_a_site_that_is_lost_in_a_round_is_not_in_its_sum_and_not_charged_and_comes_back(quick):
    stage, rounds, events = disturbed(quick, lose=[f"{SITE}@2"])
    assert SITE in rounds[1]["survivors"]
    assert SITE not in rounds[2]["survivors"] and SITE in rounds[2]["dropped"]
    assert charged(stage, SITE)[UPDATE_1] == 1
    assert charged(stage, SITE)[UPDATE_2] == 0
    # The group tables are over everyone, so it is back by then and takes the adapter.
    assert charged(stage, SITE)[charter_sums.FAIRNESS, 2] == 1
    (told,) = [e for e in events if e["event"] == "simulated-faults"]
    assert told["lose"] == [{"site": SITE, "round-number": 2}]


def test_a_site_whose_answer_is_late_is_charged_and_not_in_the_sum(quick):
    stage, rounds, _ = disturbed(quick, late=[f"{SITE}@1"])
    assert SITE not in rounds[1]["survivors"] and SITE in rounds[2]["survivors"]
    assert charged(stage, SITE)[UPDATE_1] == 1
    assert charged(stage, SITE)[UPDATE_2] == 1


def test_more_lost_sites_than_the_cohort_allows_end_the_run_and_what_was_committed_stays(quick):
    stage = quick.copy()
    lost = faults_of([f"{SITE}@2", "cleveland@2"], [], [], charter=stage.charter)
    faults.keep(lost, stage.coordinator)
    with pytest.raises(RunError, match="round 2"):
        run_federation(stage)
    assert (stage.run_dir / "rounds" / "adapter-0001.f32").exists()
    assert not (stage.run_dir / "rounds" / "adapter-0002.f32").exists()


@pytest.mark.parametrize("kind", ["scale", "flip"])
def test_poison_goes_into_the_sum_unseen_and_moves_the_adapter_within_the_bound(quick, kind):
    """Secure sums hide one site's vector, so nothing refuses it; the run ends with a verdict."""
    stage, rounds, events = disturbed(quick, poison=[f"{SITE}={kind}"])
    assert all(SITE in rounds[number]["survivors"] for number in (1, 2))
    assert events[-1]["event"] == "closed"
    assert final(stage) != final(quick.whole())


def test_each_poison_stays_within_what_the_sum_lets_through():
    vector = np.array([3, -2, 0, 90, -100], dtype=np.int64)
    assert POISONS["scale"](vector, 100).tolist() == [30, -20, 0, 100, -100]
    assert POISONS["flip"](vector, 100).tolist() == [-3, 2, 0, -90, 100]
    noise = POISONS["noise"](np.zeros(4000, dtype=np.int64), 100)
    assert np.abs(noise).max() <= 100 and noise.std() > 50


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (([f"{SITE}"], [], []), "no SITE@ROUND"),
        (([f"{SITE}@9"], [], []), "rounds 1 to 2"),
        (([], ["nowhere@1"], []), "no site of the scenario"),
        (([], [], [f"{SITE}=melt"]), "kinds: scale, flip, noise"),
        (([], [], [f"{SITE}=scale", f"{SITE}=flip"]), "named twice"),
    ],
)
def test_a_fault_that_cannot_be_is_refused_before_the_run(staged, options, why):
    with pytest.raises(RunError, match=why):
        faults_of(*options, charter=staged.charter)


def test_a_run_without_faults_has_none(staged):
    assert kept(staged.coordinator) == Faults()
