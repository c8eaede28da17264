"""A clock that is ten minutes wrong, at a site and at the coordinator: told, refused, undone."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fedethics.privacy.ledger.verify import read_book
from tests.deployment.books import check_books, seen
from tests.deployment.clocks import Clock
from tests.deployment.federation import Federation

SITE = "hungary"
WORDS = "the clocks are more than 5 minutes apart"


@contextmanager
def _with_clock(federation: Federation, clock: Clock) -> Iterator[None]:
    """Give what is started in the block this clock."""
    before = federation.environment
    federation.environment = before | clock.environment
    yield
    federation.environment = before


@pytest.mark.slow
def test_a_site_with_a_wrong_clock_is_told_so_and_takes_no_part(deployed, tmp_path):
    federation, clock = deployed(), Clock(tmp_path)
    home = federation.stage.homes[SITE]
    federation.coordinate()
    federation.until(
        lambda: "admitted" in federation.said(federation.coordinator),
        timeout_s=90,
        what="the SuperLink",
    )
    clock.set(minutes=10)
    with _with_clock(federation, clock):
        told = tmp_path / "check.out"
        check = federation.command("site", "check", "--home", str(home), "--json", log=told)
        site = federation.site(SITE)
    assert check.wait(timeout=90) == 7
    (found,) = (each for each in _findings(told.read_text()) if each["check"] == "clock")
    assert (found["state"], "ahead of the coordinator" in found["found"]) == ("fail", True)
    assert site.wait(timeout=90) == 2
    assert WORDS in federation.said(home)
    assert "Nothing was computed" in federation.said(home)
    assert not tuple(read_book(home / "ledger.db").counted())


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
def test_a_sites_clock_that_jumps_in_a_run_costs_no_more_than_a_lost_line(deployed, tmp_path):
    federation, clock = deployed(rounds=2), Clock(tmp_path)
    sites = {name: federation.site(name) for name in federation.stage.homes if name != SITE}
    with _with_clock(federation, clock):
        wrong = federation.site(SITE)
    coordinator = federation.coordinate()
    _until_round_1_is_masked(federation)
    clock.set(minutes=10)
    assert wrong.wait(timeout=400) == 2, federation.told()
    assert WORDS in federation.said(federation.stage.homes[SITE])
    sites[SITE] = federation.site(SITE)  # with the clock set right
    if coordinator.wait(timeout=500) != 0:
        assert federation.coordinate("resume").wait(timeout=500) == 0, federation.told()
    _check_end(federation, sites)


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
def test_a_coordinators_clock_that_jumps_in_a_run_stops_the_job_and_resume_ends_it(
    deployed, tmp_path
):
    federation, clock = deployed(rounds=2), Clock(tmp_path)
    sites = federation.sites()
    with _with_clock(federation, clock):
        coordinator = federation.coordinate()
    _until_round_1_is_masked(federation)
    clock.set(minutes=10)
    assert coordinator.wait(timeout=500) == 2, federation.told()
    assert all(WORDS in federation.said(federation.stage.homes[name]) for name in sites)
    for name, site in sites.items():
        if site.poll() is not None:  # as systemd would
            sites[name] = federation.site(name)
    resumed = federation.coordinate("resume")  # with the clock set right
    assert resumed.wait(timeout=500) == 0, federation.told()
    _check_end(federation, sites)


def _until_round_1_is_masked(federation: Federation) -> None:
    federation.until(
        lambda: seen(federation, "leg-started", leg="query.forward", round=1),
        timeout_s=600,
        what="round 1",
    )


def _check_end(federation: Federation, sites: dict[str, subprocess.Popen[bytes]]) -> None:
    assert all(site.poll() is None for site in sites.values()), federation.told()
    sums = check_books(federation)
    assert SITE in next(entry for entry in sums if entry.kind == "fairness").survivors


def _findings(text: str) -> list[dict[str, str]]:
    return json.loads(text)["findings"]
