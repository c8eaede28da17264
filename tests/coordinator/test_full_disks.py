"""A disk that is full at any write, with a real small disk under real files.

The federation is whole and quick (`conftest.py`); what is left on the disk decides at which write
it fails. A full disk is a refusal or an error with its code, costs at most budget, and when there
is room again the same job goes on to its end.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import pytest

from fedethics import charter_sums
from fedethics.errors import FedethicsError
from tests.coordinator.conftest import SITES, Tap, TappedGrid, charged, opened
from tests.coordinator.small_disk import small_disk

VICTIM = "hungary"
QUESTIONS = {
    (charter_sums.UPDATE, 1),
    (charter_sums.PROGRESS, 1),
    (charter_sums.UPDATE, 2),
    (charter_sums.FAIRNESS, 2),
}
LEGS = ("train", "query.forward", "query.survivors", "query.proof", "query.result", "query.slice")
# Codes that name the cause; FE000 would say "something unexpected".
NAMED = {"FE302", "FE901"}


def _assert_whole(stage, tap) -> None:
    for site in SITES:
        paid = charged(stage, site)
        assert set(opened(stage, site)) <= set(paid) <= QUESTIONS
    assert all(len(answers) == 1 for answers in tap.revealed.values())
    assert {(task, number) for _, task, number in tap.revealed} == QUESTIONS


def _finish(quick, stage, grid) -> None:
    try:
        quick.run(stage, grid=grid)
    except FedethicsError:
        quick.run(stage, resume=True, grid=grid)


def _full_site(quick, *, leg: str, leave_kib: int) -> set[str]:
    """Fill a site's disk before one leg of round 1, free it at its first refusal; return codes."""
    stage, tap, codes = quick.copy(), Tap(), set()
    with small_disk(stage.homes[VICTIM], mib=8) as disk:

        def before(site: str, action: str) -> None:
            if site == VICTIM and action.startswith(leg) and not codes and not disk.full:
                disk.fill(leave_kib=leave_kib)

        class Grid(TappedGrid):
            def _deliver(self, message):
                message_id = super()._deliver(message)
                if self._site_of[message.metadata.dst_node_id] == VICTIM:
                    header = self._replies[message_id].content["fedethics"]
                    if "refusal-code" in header:
                        codes.add(header["refusal-code"])
                        disk.free()
                return message_id

        def grid(**fields):
            made = Grid(**fields)
            made.tap, made.before = tap, before
            return made

        _finish(quick, stage, grid)
        assert codes <= NAMED, (leg, leave_kib, codes)
    _assert_whole(stage, tap)
    return codes


def _full_coordinator(quick, *, leg: str, leave_kib: int) -> str:
    """Fill the coordinator's disk before one leg, free it when the run has failed; return why."""
    stage, tap, failed = quick.copy(), Tap(), []
    elsewhere = stage.run_dir.with_name("sites")
    (stage.run_dir / "sites").rename(elsewhere)
    homes = {site: elsewhere / site for site in stage.homes}
    stage = dataclasses.replace(stage, homes=homes)
    with small_disk(stage.run_dir, mib=8) as disk:

        def before(_site: str, action: str) -> None:
            if action.startswith(leg) and not disk.full:
                disk.fill(leave_kib=leave_kib)

        def grid(**fields):
            made = TappedGrid(**fields)
            made.tap = tap
            if not failed:
                made.before = before
            return made

        try:
            quick.run(stage, grid=grid)
        except FedethicsError as error:
            failed.append(f"{error.code}: {error}")
            disk.free()
            quick.run(stage, resume=True, grid=grid)
    _assert_whole(stage, tap)
    return "".join(failed)


def _also(but: str, legs: Iterable[str]) -> list[object]:
    """The other legs, as slow cases."""
    return [pytest.param(leg, marks=pytest.mark.slow) for leg in legs if leg != but]


@pytest.mark.parametrize(
    "leave_kib", [24, *(pytest.param(left, marks=pytest.mark.slow) for left in (0, 48))]
)
def test_a_site_whose_disk_is_full_while_it_answers_refuses_by_name_and_goes_on(quick, leave_kib):
    assert _full_site(quick, leg="train", leave_kib=leave_kib)


@pytest.mark.parametrize("leg", ["query.proof", *_also("query.proof", LEGS[1:])])
def test_a_site_whose_disk_is_full_in_any_later_leg_loses_at_most_its_part(quick, leg):
    assert _full_site(quick, leg=leg, leave_kib=0)


@pytest.mark.parametrize("leg", ["query.forward", *_also("", ["query.announce", "query.proof"])])
def test_a_coordinator_whose_disk_is_full_stops_by_name_and_is_resumed(quick, leg):
    said = _full_coordinator(quick, leg=leg, leave_kib=0)
    assert "No space left on device" in said
    assert "resume" in said


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("leg", LEGS)
def test_a_disk_that_fills_up_at_any_write_at_all_costs_at_most_budget(quick, leg):
    for leave_kib in range(0, 260, 4):
        _full_site(quick, leg=leg, leave_kib=leave_kib)
        _full_coordinator(quick, leg=leg, leave_kib=leave_kib)
