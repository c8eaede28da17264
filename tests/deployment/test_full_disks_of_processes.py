"""The disk of a site, and then the coordinator's, is full in the middle of a run, and is freed.

Every single write is met in `tests/coordinator/test_full_disks.py`, without processes.
"""

from __future__ import annotations

import contextlib
import subprocess

import pytest

from tests.coordinator.small_disk import small_disk
from tests.deployment.books import check_books, seen

pytestmark = pytest.mark.slow
SITE = "hungary"
_WHY = (
    "No space left on device",
    "No heartbeat received from the task",
    "Server error '500",
    "Task failed with unknown error",
)


def test_full_disks_stop_by_name_lose_nothing_and_the_same_job_ends(deployed, tmp_path):
    federation = deployed(rounds=1)
    home, out = federation.stage.homes[SITE], tmp_path / "site.out"
    with contextlib.ExitStack() as disks:
        site_disk = disks.enter_context(small_disk(home, mib=48))
        coordinators = disks.enter_context(small_disk(federation.coordinator, mib=64))
        disks.callback(federation.end)
        others = [federation.site(name) for name in federation.stage.homes if name != SITE]
        words = ("site", "run", "--home", str(home))
        site = federation.command(*words, log=out)
        said = tmp_path / "coordinator.out"
        words = ("federation", "start", "--home", str(federation.coordinator))
        coordinator = federation.command(*words, log=said)

        federation.until(
            lambda: seen(federation, "leg-started", leg="train.default", round=1),
            timeout_s=400,
            what="training",
        )
        site_disk.fill()
        federation.until(
            lambda: seen(federation, "refused", site=SITE), timeout_s=120, what="the refusal"
        )
        assert seen(federation, "refused", site=SITE)[0]["code"] in {"FE302", "FE901"}
        federation.until(
            lambda: "nearly full" in out.read_text(), timeout_s=20, what="words on the screen"
        )
        site_disk.free()

        federation.until(
            lambda: seen(federation, "leg-started", leg="evaluate.default", round=1),
            timeout_s=400,
            what="the final tables",
        )
        coordinators.fill()
        federation.until(
            lambda: "nearly full" in said.read_text(), timeout_s=30, what="words on the screen"
        )
        # The job ends at its next write; while Flower's database takes no reply, it waits instead.
        with contextlib.suppress(subprocess.TimeoutExpired):
            coordinator.wait(timeout=15)
        coordinators.free()
        if coordinator.wait(timeout=280) != 0:
            # Our own write failed, or one of Flower's did first, which ends the job in its words.
            assert any(why in said.read_text() for why in _WHY), said.read_text()
            words = ("federation", "resume", "--home", str(federation.coordinator))
            resumed = federation.command(*words, log=said)
            assert resumed.wait(timeout=280) == 0, said.read_text()

        assert all(process.poll() is None for process in (site, *others)), out.read_text()
        sums = check_books(federation)
        assert SITE in next(e for e in sums if e.kind == "fairness").survivors
