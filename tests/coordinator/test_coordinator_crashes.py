"""A coordinator that dies at any step: the resumed job ends as if nothing had happened.

A process that dies leaves its disk. So an uninterrupted job is run once, what lies on the disk is
set aside at every step, and the job is resumed from each.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from pathlib import Path

import pytest

from fedethics import charter_sums
from fedethics.canonical import parse
from fedethics.coordinator.protocol_files import ProtocolFiles
from fedethics.release import durable
from fedethics.secagg.coordinator_log import CoordinatorLog
from fedethics.simulation import staging
from tests.coordinator.conftest import SITES, Tap, TappedGrid, charged, opened

QUESTIONS = {
    (charter_sums.UPDATE, 1),
    (charter_sums.PROGRESS, 1),
    (charter_sums.UPDATE, 2),
    (charter_sums.FAIRNESS, 2),
}


@dataclasses.dataclass(frozen=True)
class Death:
    """What a coordinator that died at one step left behind."""

    step: str
    run_dir: Path
    tap: Tap


class Recorder:
    """Sets aside what lies on the disk at each step of a job, unless it lay there before.

    What a resumed job does follows from the disk, so two steps that left the same are one death.
    """

    def __init__(self, stage, folder: Path, wanted) -> None:
        self.stage, self.folder, self.wanted = stage, folder, wanted
        self.tap, self.deaths, self.seen = Tap(), [], {}
        self.disks: set[str] = set()

    def step(self, name: str) -> None:
        self.seen[name] = self.seen.get(name, 0) + 1
        numbered = f"{name} #{self.seen[name]}"
        if self.wanted(name, self.seen[name]) and self._is_new():
            kept = self.folder / str(len(self.deaths)) / "run"
            shutil.copytree(self.stage.run_dir, kept)
            self.deaths.append(Death(numbered, kept, self.tap.copy()))

    def _is_new(self) -> bool:
        lies = hashlib.sha256()
        for file in sorted(self.stage.run_dir.rglob("*")):
            if file.is_file():
                lies.update(f"{file.relative_to(self.stage.run_dir)}\0".encode())
                lies.update(hashlib.sha256(file.read_bytes()).digest())
        before = len(self.disks)
        self.disks.add(lies.hexdigest())
        return len(self.disks) > before

    def around(self, monkeypatch, owner, method: str, name: str) -> None:
        real = getattr(owner, method)

        def stepped(*arguments, **named):
            self.step(f"before {name}")
            result = real(*arguments, **named)
            self.step(f"after {name}")
            return result

        monkeypatch.setattr(owner, method, stepped)


def recorded(quick, monkeypatch, wanted) -> tuple[Recorder, object]:
    """Run a job to its end; return what it left at each step, and the stage."""
    stage = quick.copy()
    recorder = Recorder(stage, quick.path / "deaths", wanted)
    with monkeypatch.context() as patched:
        recorder.around(patched, CoordinatorLog, "append", "a message is kept")
        recorder.around(patched, ProtocolFiles, "forget", "a file is forgotten")
        recorder.around(patched, durable, "write", "a state is written")

        class Grid(TappedGrid):
            tap = recorder.tap
            before = staticmethod(lambda site, action: recorder.step(f"{action} to {site}"))

        quick.run(stage, grid=Grid)
    return recorder, stage


def resumed(quick, death: Death):
    """Resume a job from what a death left; return its stage and everything ever revealed."""
    stage = staging.existing(death.run_dir, quick.template.charter)

    class Grid(TappedGrid):
        tap = death.tap

    quick.run(stage, resume=(stage.run_dir / "state.json").exists(), grid=Grid)
    return stage


def assert_as_if_nothing_had_happened(quick, stage, whole, tap: Tap) -> None:
    assert quick.final(stage) == quick.final(whole)
    ours, theirs = (parse((s.run_dir / "state.json").read_bytes()) for s in (stage, whole))
    for key in ("fairness", "progress", "committed-round"):
        assert ours[key] == theirs[key], key
    assert {entry["sum-sha256"] for entry in ours["sums"]} == {
        entry["sum-sha256"] for entry in theirs["sums"]
    }
    for site in SITES:
        assert sorted(opened(stage, site)) == sorted(QUESTIONS)
        assert dict(charged(stage, site)) == dict.fromkeys(QUESTIONS, 1)
    assert tap.revealed.keys() == {(site, *question) for site in SITES for question in QUESTIONS}
    assert all(len(answers) == 1 for answers in tap.revealed.values())
    assert not list(ProtocolFiles(stage.run_dir).sessions())


def _one_of_each(name: str, count: int) -> bool:
    """Each leg once, in its middle, and a sample of what is written."""
    if " to " in name:
        return name.endswith("switzerland") and count == 1
    return count == 12


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_a_coordinator_that_died_in_any_leg_or_commit_ends_as_if_it_had_not(
    quick, monkeypatch, every
):
    recorder, whole = recorded(quick, monkeypatch, _one_of_each)
    assert len(recorder.deaths) >= 15
    for death in recorder.deaths[::every]:
        stage = resumed(quick, death)
        assert_as_if_nothing_had_happened(quick, stage, whole, death.tap)


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)  # hundreds of jobs
def test_a_coordinator_that_died_at_any_step_at_all_ends_as_if_it_had_not(quick, monkeypatch):
    recorder, whole = recorded(quick, monkeypatch, lambda *_: True)
    assert len(recorder.deaths) > 250
    for death in recorder.deaths:
        stage = resumed(quick, death)
        assert_as_if_nothing_had_happened(quick, stage, whole, death.tap)
        shutil.rmtree(death.run_dir.parent)
