"""The line between a site and the coordinator is cut, by a reset or in silence, and mended."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable, Iterator

import pytest
import tomli_w

from tests.deployment.books import check_books, check_the_sums, seen
from tests.deployment.federation import Federation
from tests.deployment.relay import Cut, Relay


@pytest.fixture
def lines(deployed) -> Iterator[Callable[..., tuple[Federation, dict[str, Relay]]]]:
    """Return a function that makes a federation with a line of its own for each site."""
    laid: list[Relay] = []

    def make(*, rounds: int) -> tuple[Federation, dict[str, Relay]]:
        federation = deployed(rounds=rounds)
        relays = {name: Relay(to=federation.port) for name in federation.stage.homes}
        laid.extend(relays.values())
        for name, home in federation.stage.homes.items():
            settings = tomllib.loads((home / "site.toml").read_text())
            settings["node"]["superlink"] = f"127.0.0.1:{relays[name].port}"
            (home / "site.toml").write_text(tomli_w.dumps(settings))
        return federation, relays

    yield make
    for relay in laid:
        relay.close()


def _until_leg(federation: Federation, leg: str, number: int) -> None:
    federation.until(
        lambda: seen(federation, "leg-started", leg=leg, round=number),
        timeout_s=400,
        what=f"{leg} of round {number}",
    )


def _cut(relays: list[Relay], how: Cut, *, for_s: float) -> None:
    for relay in relays:
        relay.cut(how)
    time.sleep(for_s)
    for relay in relays:
        relay.mend()


@pytest.mark.slow
def test_sites_that_are_cut_off_for_less_than_a_minute_change_no_sum(lines, tmp_path):
    federation, relays = lines(rounds=1)
    sites = federation.sites()
    coordinator = federation.coordinate()

    _until_leg(federation, "train.default", 1)
    _cut([relays["cleveland"]], Cut.SILENCE, for_s=10)
    _until_leg(federation, "query.forward", 1)
    _cut([relays["va-long-beach"]], Cut.RESET, for_s=10)
    _until_leg(federation, "evaluate.default", 1)
    # Longer than a TLS handshake may take (30 s), which by itself ends a SuperNode for good.
    _cut([relays["hungary"]], Cut.SILENCE, for_s=45)

    assert coordinator.wait(timeout=280) == 0, federation.told()
    # Nobody had to be started again by hand.
    assert all(process.poll() is None for process in sites.values()), federation.told()
    # Where the reset tore the one answer in which Flower hands a message out, it was sent again.
    assert {entry.survivors for entry in check_books(federation)} == {tuple(sorted(sites))}
    check_the_sums(federation, tmp_path, rounds=1)


@pytest.mark.exhaustive
def test_a_site_that_is_cut_off_for_ninety_seconds_misses_one_round_and_is_back(lines):
    federation, relays = lines(rounds=2)
    sites = federation.sites()
    coordinator = federation.coordinate()
    _until_leg(federation, "train.default", 2)
    _cut([relays["hungary"]], Cut.SILENCE, for_s=90)
    assert coordinator.wait(timeout=400) == 0, federation.told()
    assert all(process.poll() is None for process in sites.values()), federation.told()
    sums = {(entry.round, entry.kind): entry.survivors for entry in check_books(federation)}
    assert "hungary" not in sums[2, "update"]
    assert "hungary" in sums[2, "fairness"]


@pytest.mark.exhaustive
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("how", list(Cut))
def test_a_cut_of_all_sites_for_five_minutes_stops_the_job_and_resume_ends_it(lines, how):
    federation, relays = lines(rounds=2)
    sites = federation.sites()
    coordinator = federation.coordinate()
    _until_leg(federation, "query.forward", 2)
    _cut(list(relays.values()), how, for_s=300)
    # 120 s is this federation's patience (leg-timeout-s); the default of ten minutes waits it out.
    assert coordinator.wait(timeout=60) == 2, federation.told()
    assert "Resume the job when the sites are back" in federation.said(federation.coordinator)
    resumed = federation.coordinate("resume")
    assert resumed.wait(timeout=400) == 0, federation.told()
    assert all(process.poll() is None for process in sites.values()), federation.told()
    assert {entry.survivors for entry in check_books(federation)} == {tuple(sorted(sites))}
