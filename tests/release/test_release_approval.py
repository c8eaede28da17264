"""A person's approval frees the adapter, for one release to the byte, and never a failed one."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedethics.charter.ethics_terms import Stakeholder
from fedethics.charter.signing import sign
from fedethics.cli.release import app
from fedethics.errors import ApprovalRefused, ReleaseError
from fedethics.identity import Identity
from fedethics.release import approvals, folder, gate, manifest
from fedethics.release.approve import approve
from fedethics.release.decision import decided
from fedethics.release.publish import publish, rewrite_reports
from fedethics.release.verification import verify
from tests.release.conftest import lay_out

REASON = "advice to a cardiologist only; reviewed on 3 January"


def _problems(run):
    return {check.name: check.problems for check in verify(run) if check.problems}


def _state(run):
    opened = folder.load(run)
    return decided(opened, gate.judge(opened).verdict)[0].state


@pytest.fixture(scope="module")
def good(stage, tmp_path_factory):
    """A published run on so many records that every rule holds."""
    run = lay_out(tmp_path_factory.mktemp("good"), stage, stage.evidence(records=20_000, skill=3.2))
    publish(run, stage.coordinator)
    return run


@pytest.fixture
def passed(good, tmp_path):
    """One of its own for each test."""
    return Path(shutil.copytree(good, tmp_path / good.name))


def _watched(stage, *roles):
    """Return a stage whose charter names stakeholders, and their keys."""
    keys = {role: Identity.generate() for role in roles}
    named = tuple(
        Stakeholder(role=role, name=f"the {role}", public_key=key.public_key)
        for role, key in keys.items()
    )
    ethics = dataclasses.replace(stage.charter.ethics, stakeholders=named, approval_by=tuple(roles))
    return stage.with_charter(ethics=ethics), keys


def test_until_somebody_approves_the_adapter_is_not_in_the_release(passed):
    assert not (passed / "adapter").exists()
    assert (passed / "withheld/adapter/adapter_model.safetensors").exists()
    assert _state(passed) == "awaiting approval"
    assert "withheld" in (passed / "withheld/adapter/README.md").read_text()
    assert _problems(passed) == {}


def test_an_approval_frees_the_adapter_and_every_page_says_by_whom_and_why(stage, passed):
    decision = approve(passed, stage.coordinator, role="coordinator", reason=REASON)
    assert decision.released
    assert not (passed / "withheld").exists()
    assert _problems(passed) == {}
    for name in folder.PAGES:
        if name != folder.DATA_CARD:
            assert REASON in folder.located(passed, name).read_text(), name
    result = CliRunner().invoke(app, ["gate", str(passed)])
    assert result.exit_code == 0 and "Released." in result.output


def test_what_cannot_be_concluded_needs_a_decision_of_its_own(stage, release):
    key = stage.identities["hungary"]
    with pytest.raises(ApprovalRefused, match="--despite-uncertainty"):
        approve(release, key, role="site", reason=REASON)
    assert not (release / "approvals.json").exists()
    decision = approve(release, key, role="site", reason=REASON, despite_uncertainty=True)
    assert decision.released and "despite the uncertainty" in decision.sentence
    assert _problems(release) == {}
    # The verdict stays what the evidence gives.
    assert CliRunner().invoke(app, ["gate", str(release)]).exit_code == 4


def test_nobody_can_approve_a_failed_gate(stage, heart, lay):
    run = lay(stage, dataclasses.replace(heart, test_mode=True))
    publish(run, stage.coordinator)
    with pytest.raises(ApprovalRefused, match="noise was real"):
        approve(run, stage.coordinator, role="coordinator", reason=REASON, despite_uncertainty=True)
    assert _state(run) == "withheld" and not (run / "adapter").exists()


def test_an_approval_forged_around_the_command_does_not_count(stage, heart, lay):
    run = lay(stage, dataclasses.replace(heart, test_mode=True))
    publish(run, stage.coordinator)
    made = approvals.Approval(
        role="coordinator",
        name="coordinator",
        public_key=stage.coordinator.public_key,
        approved="2026-01-03T00:00:00+00:00",
        verdict="fail",
        despite_uncertainty=True,
        reason=REASON,
        manifest_sha256=folder.durable.file_sha256(run / "manifest.json"),
    )
    approvals.write([approvals.signed(made, stage.coordinator)], run)
    assert "cannot be approved" in _problems(run)["approvals hold"][0]
    assert _state(run) == "withheld"


@pytest.mark.parametrize(
    ("who", "role"), [("stranger", "coordinator"), ("coordinator", "site"), ("site", "ethicist")]
)
def test_only_those_whom_the_charter_names_may_approve(stage, passed, who, role):
    keys = {
        "stranger": Identity.generate(),
        "coordinator": stage.coordinator,
        "site": stage.identities["hungary"],
    }
    with pytest.raises(ApprovalRefused, match="may not approve"):
        approve(passed, keys[who], role=role, reason=REASON)


@pytest.mark.parametrize("char", ["\x1b]0;owned\x07", "\u202e", "\u2028", "\U000e0041", "\ue000"])
def test_a_reason_that_no_reader_would_take_is_refused_before_it_is_written(stage, passed, char):
    before = {path: path.read_bytes() for path in passed.rglob("*") if path.is_file()}
    with pytest.raises(ApprovalRefused, match=r"--reason has U\+"):
        approve(passed, stage.coordinator, role="coordinator", reason=f"fine{char}")
    assert {path: path.read_bytes() for path in passed.rglob("*") if path.is_file()} == before


def test_a_reason_must_be_given(stage, passed):
    with pytest.raises(ApprovalRefused, match="reason"):
        approve(passed, stage.coordinator, role="coordinator", reason="  ")


def test_a_release_that_does_not_verify_cannot_be_approved(stage, passed):
    (passed / "metrics.jsonl").write_text("changed")
    with pytest.raises(ApprovalRefused, match=r"metrics\.jsonl"):
        approve(passed, stage.coordinator, role="coordinator", reason=REASON)


def test_stakeholders_approve_where_the_charter_names_them_and_each_role_must(stage, lay):
    watched, keys = _watched(stage, "ethicist", "legal")
    found = watched.evidence(records=20_000, skill=3.2)
    signatures = (
        *found.charter_signatures,
        *(sign(watched.charter, key, role=role, signed=None) for role, key in keys.items()),
    )
    # The stakeholders sign now, so the run begins after that.
    found = dataclasses.replace(
        found, charter_signatures=signatures, started="2099-01-01T00:00:00Z"
    )
    run = lay(watched, found)
    publish(run, stage.coordinator)
    with pytest.raises(ApprovalRefused, match="may not approve"):
        approve(run, stage.coordinator, role="coordinator", reason=REASON)
    assert not approve(run, keys["ethicist"], role="ethicist", reason=REASON).released
    assert not (run / "adapter").exists()
    assert approve(run, keys["legal"], role="legal", reason="counsel agrees").released
    assert _problems(run) == {}
    page = (run / "report.html").read_text()
    assert REASON in page and "counsel agrees" in page


def test_a_page_changed_after_approval_is_found(stage, passed):
    approve(passed, stage.coordinator, role="coordinator", reason=REASON)
    page = passed / "report.html"
    page.write_text(page.read_text().replace(REASON, "no reason"))
    assert "report.html" in _problems(passed)["files are those of the manifest"][0]


def test_an_approval_does_not_carry_over_to_another_manifest(stage, passed):
    approve(passed, stage.coordinator, role="coordinator", reason=REASON)
    (passed / "metrics.jsonl").write_text("changed")
    manifest.write_manifest(passed, stage.coordinator)
    problems = _problems(passed)
    assert "another release" in problems["approvals hold"][0]
    assert "adapter/ lies in the release" in problems["the adapter lies where the decision says"][0]


def test_an_adapter_moved_by_hand_is_found(passed):
    (passed / "withheld/adapter").rename(passed / "adapter")
    assert "the adapter lies where the decision says" in _problems(passed)
    assert CliRunner().invoke(app, ["verify", str(passed)]).exit_code == 6


def test_an_approval_that_was_cut_short_is_completed_by_giving_it_again(stage, passed):
    approve(passed, stage.coordinator, role="coordinator", reason=REASON)
    (passed / "withheld").mkdir()
    (passed / "adapter").rename(passed / "withheld/adapter")
    assert "approve it again" in _problems(passed)["the adapter lies where the decision says"][0]
    assert approve(passed, stage.coordinator, role="coordinator", reason=REASON).released
    assert _problems(passed) == {}


def test_a_manifest_that_another_key_signed_is_found(release):
    manifest.write_manifest(release, Identity.generate())
    assert "manifest is signed by the coordinator" in _problems(release)


def test_what_was_approved_is_not_published_again(stage, passed):
    approve(passed, stage.coordinator, role="coordinator", reason=REASON)
    with pytest.raises(ReleaseError, match="approved"):
        publish(passed, stage.coordinator)
    before = (passed / "report.html").read_bytes()
    (passed / "report.html").unlink()
    rewrite_reports(passed)
    assert (passed / "report.html").read_bytes() == before
    assert _problems(passed) == {}


def test_pages_that_would_differ_need_the_coordinators_key(stage, release, monkeypatch):
    monkeypatch.setattr("fedethics.release.readers.READERS", ())
    monkeypatch.setattr(
        "fedethics.release.report_json.text", lambda _found: "another version's words\n"
    )
    with pytest.raises(ReleaseError, match=r"report\.json would differ"):
        rewrite_reports(release)
    rewrite_reports(release, stage.coordinator)
    assert _problems(release) == {}


def test_the_command_approves_with_a_key_file_and_exits_5_when_refused(stage, passed, tmp_path):
    stage.coordinator.save(tmp_path / "c.key")
    arguments = ["approve", str(passed), "--key", str(tmp_path / "c.key"), "--reason", REASON]
    refused = CliRunner().invoke(app, [*arguments, "--role", "legal"])
    assert isinstance(refused.exception, ApprovalRefused) and refused.exception.exit_code == 5
    done = CliRunner().invoke(app, [*arguments, "--role", "coordinator", "--json"])
    assert done.exit_code == 0
    assert json.loads(done.output)["state"] == "released"
