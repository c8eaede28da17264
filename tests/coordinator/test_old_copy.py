"""A job's directory is put back from a backup: what was opened since is not opened once more."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fedethics.errors import RunError
from tests.coordinator.conftest import SITES, Tap, TappedGrid, charged


class Copied(TappedGrid):
    """Copies the job's directory, without the sites, at the first message of a kind."""

    folder: Path
    copy: Path
    kind: str

    def _deliver(self, message):
        if message.metadata.message_type.startswith(self.kind) and not self.copy.exists():
            shutil.copytree(self.folder, self.copy, ignore=shutil.ignore_patterns("sites"))
        return super()._deliver(message)


@pytest.mark.parametrize(
    ("kind", "resumed"),
    [("query.join", 0), ("train", 0), ("query.forward", 0), ("evaluate", 0), ("train", 2)],
)
def test_a_job_put_back_opens_no_sum_again_and_says_what_to_do(quick, tmp_path, kind, resumed):
    stage, tap, copy = quick.copy(), Tap(), tmp_path / "copy"
    how = {"folder": stage.run_dir, "copy": copy, "kind": kind, "tap": tap}
    quick.run(stage, grid=type("Grid", (Copied,), how))
    for _ in range(
        resumed
    ):  # each time with new keys, so that sites know later epochs than the copy
        quick.run(stage, resume=True)
    told = {key: set(found) for key, found in tap.revealed.items()}
    _put_back(copy, stage.run_dir)
    with pytest.raises(RunError, match="resume from the newest copy, or start a job under another"):
        quick.run(stage, resume=True, grid=type("Grid", (TappedGrid,), {"tap": tap}))
    assert tap.revealed == told
    for site in SITES:
        assert set(charged(stage, site).values()) == {1}


def _put_back(copy: Path, folder: Path) -> None:
    for each in folder.iterdir():
        if each.is_dir() and each.name != "sites":
            shutil.rmtree(each)
        elif each.is_file():
            each.unlink()
    shutil.copytree(copy, folder, dirs_exist_ok=True)
