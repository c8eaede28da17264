"""Whoever may approve a release can take it back for good, and everything obeys."""

from __future__ import annotations

import dataclasses
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedethics.cli.release import app
from fedethics.errors import ApprovalRefused, ReleaseError
from fedethics.identity import Identity
from fedethics.release import folder, withdrawal_note
from fedethics.release.approve import approve
from fedethics.release.publish import publish, rewrite_reports
from fedethics.release.standing import require_released
from fedethics.release.verification import verify
from fedethics.release.withdraw import withdraw
from tests.release.conftest import lay_out

WHY = "drift in March: women with the disease were missed"


@pytest.fixture(scope="module")
def approved(stage, tmp_path_factory):
    run = lay_out(tmp_path_factory.mktemp("good"), stage, stage.evidence(records=20_000, skill=3.2))
    publish(run, stage.coordinator)
    approve(run, stage.coordinator, role="coordinator", reason="reviewed")
    return run


@pytest.fixture
def release(approved, tmp_path):
    """One of its own for each test."""
    return Path(shutil.copytree(approved, tmp_path / approved.name))


def _withdraw(stage, run):
    return withdraw(run, stage.coordinator, role="coordinator", reason=WHY)


def _problems(run):
    return {check.name: check.problems for check in verify(run) if check.problems}


def test_a_withdrawn_adapter_leaves_the_release_and_every_page_says_why(stage, release):
    assert require_released(release).path == release
    assert _withdraw(stage, release).state == "withdrawn"
    assert not (release / "adapter").exists()
    for name in folder.PAGES:
        if name != folder.DATA_CARD:
            assert WHY in folder.located(release, name).read_text(), name
    assert _problems(release) == {}
    with pytest.raises(ReleaseError, match=r"was not loaded. Withdrawn by the coordinator .*drift"):
        require_released(release)


def test_a_scheduler_learns_of_a_withdrawal_by_an_exit_code_of_its_own(stage, release):
    _withdraw(stage, release)
    for command in ("gate", "verify"):
        result = CliRunner().invoke(app, [command, str(release)])
        assert result.exit_code == 11 and "Withdrawn by" in result.output
    told = json.loads(CliRunner().invoke(app, ["verify", str(release), "--json"]).output)
    assert told["withdrawn"] is True


def test_a_withdrawal_is_for_good(stage, release):
    _withdraw(stage, release)
    with pytest.raises(ApprovalRefused, match="cannot be approved again"):
        approve(release, stage.identities["hungary"], role="site", reason="all is well again")
    with pytest.raises(ApprovalRefused, match="no release that could be withdrawn"):
        _withdraw(stage, release)
    pages = {name: folder.located(release, name).read_bytes() for name in folder.PAGES}
    rewrite_reports(release)
    assert pages == {name: folder.located(release, name).read_bytes() for name in folder.PAGES}


def test_the_note_alone_stops_every_other_copy(stage, release, tmp_path):
    copy = Path(shutil.copytree(release, tmp_path / "another place"))
    _withdraw(stage, release)
    shutil.copy(release / folder.WITHDRAWAL, copy)
    with pytest.raises(ReleaseError, match="Withdrawn by"):
        require_released(copy)
    with pytest.raises(ReleaseError, match="would void the withdrawal"):
        publish(copy, stage.coordinator)


def test_a_withdrawal_that_was_cut_short_is_carried_out(stage, release, tmp_path):
    copy = Path(shutil.copytree(release, tmp_path / "another place"))
    _withdraw(stage, release)
    shutil.copy(release / folder.WITHDRAWAL, copy)
    assert _problems(copy)
    note = (copy / folder.WITHDRAWAL).read_bytes()
    assert _withdraw(stage, copy).state == "withdrawn"
    assert not (copy / "adapter").exists() and _problems(copy) == {}
    assert (copy / folder.WITHDRAWAL).read_bytes() == note


def test_an_approval_whose_files_were_changed_can_still_be_withdrawn(stage, release):
    (release / "manifest.json").write_bytes((release / "manifest.json").read_bytes() + b" ")
    _withdraw(stage, release)
    with pytest.raises(ReleaseError):
        require_released(release)
    assert not (release / "adapter").exists()


def test_only_those_who_may_approve_can_withdraw(stage, release):
    with pytest.raises(ApprovalRefused, match="may not approve"):
        withdraw(release, Identity.generate(), role="coordinator", reason=WHY)
    with pytest.raises(ApprovalRefused, match="--reason is empty"):
        withdraw(release, stage.coordinator, role="coordinator", reason=" ")
    assert not (release / folder.WITHDRAWAL).exists()


def test_what_was_never_released_is_not_withdrawn(stage, lay, heart):
    run = lay(stage, heart)
    publish(run, stage.coordinator)
    with pytest.raises(ApprovalRefused, match="no release that could be withdrawn"):
        _withdraw(stage, run)


@pytest.mark.parametrize("change", ["reason", "public_key", "manifest_sha256"])
def test_a_forged_note_is_told_and_the_release_is_used_by_nobody(stage, release, change):
    _withdraw(stage, release)
    note = withdrawal_note.load(release)
    stranger = Identity.generate()
    forged = {
        "reason": dataclasses.replace(note, reason="another"),
        "public_key": withdrawal_note.signed(
            dataclasses.replace(note, public_key=stranger.public_key), stranger
        ),
        "manifest_sha256": withdrawal_note.signed(
            dataclasses.replace(note, manifest_sha256="ab" * 32), stage.coordinator
        ),
    }[change]
    withdrawal_note.write(forged, release)
    assert "withdrawal by the coordinator" in " ".join(_problems(release)["approvals hold"])
    with pytest.raises(ReleaseError):
        require_released(release)


def test_a_release_that_is_altered_or_awaiting_approval_is_not_loaded(stage, release, tmp_path):
    (release / "metrics.jsonl").write_text("{}\n")
    with pytest.raises(ReleaseError, match="does not verify, so its adapter was not loaded"):
        require_released(release)
    waiting = lay_out(tmp_path / "w", stage, stage.evidence(records=20_000, skill=3.2))
    publish(waiting, stage.coordinator)
    with pytest.raises(ReleaseError, match="Awaiting approval"):
        require_released(waiting)


def test_the_time_of_a_withdrawal_is_its_makers(stage, release):
    when = datetime(2026, 5, 1, tzinfo=UTC)
    withdraw(release, stage.coordinator, role="coordinator", reason=WHY, withdrawn=when)
    assert withdrawal_note.load(release).withdrawn == "2026-05-01T00:00:00+00:00"
