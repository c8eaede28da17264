"""A site dies in the middle of a round, or an executor at the worst moment; the books hold.

Every process in every phase: `test_death_at_each_phase.py`.
"""

from __future__ import annotations

import psutil
import pytest

from tests.deployment.books import check_books
from tests.deployment.deaths import kill

pytestmark = pytest.mark.slow


def test_a_site_that_is_killed_while_it_trains_comes_back_and_the_job_ends(deployed):
    federation = deployed(rounds=1)
    sites = federation.sites()
    coordinator = federation.coordinate()
    name = "hungary"
    federation.until(
        lambda: any(e["event"] == "self-test passed" for e in federation.log_of(name)),
        timeout_s=150,
        what="training at the site",
    )
    killed = {
        kill(sites[name].pid, f"fedethics.flower.{each}") for each in ("executor", "supernode")
    }
    resumes = 0
    while coordinator.wait(timeout=280) != 0:
        resumes += 1
        assert resumes <= 2, federation.told()
        coordinator = federation.coordinate("resume")
    assert sites[name].poll() is None, federation.said(federation.stage.homes[name])
    children = {process.pid for process in psutil.Process(sites[name].pid).children()}
    assert len(children) == 2
    assert not children & killed
    check_books(federation)


def test_executors_that_die_with_a_message_half_fetched_or_answered_leave_their_sites_free(
    deployed,
):
    # Flower's own SuperNode would wait for either answer until its operator starts it anew.
    federation = deployed(rounds=1).quicken()
    homes = federation.stage.homes
    (homes["hungary"] / "dies-at").write_text("PullMessages 4")  # with a mask sent, unread
    (homes["cleveland"] / "dies-at").write_text("PushMessages 8")  # later, with no part of it sent
    federation.sites()
    # The last tables need every site, so this job ends only if both take part again.
    assert federation.coordinate().wait(timeout=400) == 0, federation.told()
    for site in ("hungary", "cleveland"):
        assert (homes[site] / "died-at").exists(), site
    # Each was missed in a leg: given up, or asked again and then answered by its next executor.
    missed = [e.get("dropped", []) for e in federation.events() if e["event"] == "leg-ended"]
    missed += [e["sites"] for e in federation.events() if e["event"] == "asked-again"]
    assert {site for sites in missed for site in sites} >= {"hungary", "cleveland"}
    check_books(federation)
