"""A site dies in the middle of a round, with Flower's clocks as shipped; the books hold.

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
