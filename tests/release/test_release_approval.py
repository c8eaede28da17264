"""A person's approval frees the adapter, for one release to the byte, and never a failed one."""

from __future__ import annotations

import dataclasses
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
from typer.testing import CliRunner

from fedethics import canonical, terms
from fedethics.charter.ethics_terms import Stakeholder
from fedethics.charter.signing import sign
from fedethics.cli.release import app
from fedethics.errors import ApprovalRefused, ReleaseError
from fedethics.identity import Identity
from fedethics.release import decision, durable, folder, gate, manifest
from fedethics.release.approve import approve
from fedethics.release.decision import EXIT_CODES, decide, decided
from fedethics.release.manifest import sign_file
from fedethics.release.publish import publish, rewrite_reports
from fedethics.release.rules.rule import Outcome, overall
from fedethics.release.verification import verify
from tests.release.conftest import SITES, lay_out

BEFORE = datetime(2026, 1, 1, tzinfo=UTC)
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
    assert gate.examine(release).verdict == "cannot conclude"
    assert CliRunner().invoke(app, ["gate", str(release)]).exit_code == 9


def test_nobody_can_approve_a_failed_gate(stage, heart, lay):
    run = lay(stage, dataclasses.replace(heart, test_mode=True))
    publish(run, stage.coordinator)
    with pytest.raises(ApprovalRefused, match="noise was real"):
        approve(run, stage.coordinator, role="coordinator", reason=REASON, despite_uncertainty=True)
    assert _state(run) == "withheld" and not (run / "adapter").exists()


def test_an_approval_forged_around_the_command_does_not_count(stage, heart, lay):
    run = lay(stage, dataclasses.replace(heart, test_mode=True))
    publish(run, stage.coordinator)
    made = decision.Approval(
        role="coordinator",
        name="coordinator",
        public_key=stage.coordinator.public_key,
        approved="2026-01-03T00:00:00+00:00",
        verdict="fail",
        despite_uncertainty=True,
        reason=REASON,
        manifest_sha256=folder.durable.file_sha256(run / "manifest.json"),
    )
    decision.write([decision.signed(made, stage.coordinator)], run)
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
        *(sign(watched.charter, key, role=role, signed=BEFORE) for role, key in keys.items()),
    )
    found = dataclasses.replace(found, charter_signatures=signatures)
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
    assert "adapter/ is in the release" in problems["the adapter is where the decision says"][0]


def test_an_adapter_moved_by_hand_is_found(passed):
    (passed / "withheld/adapter").rename(passed / "adapter")
    assert "the adapter is where the decision says" in _problems(passed)
    assert CliRunner().invoke(app, ["verify", str(passed)]).exit_code == 6


def test_an_approval_that_was_cut_short_is_completed_by_giving_it_again(stage, passed):
    approve(passed, stage.coordinator, role="coordinator", reason=REASON)
    (passed / "withheld").mkdir()
    (passed / "adapter").rename(passed / "withheld/adapter")
    assert "approve it again" in _problems(passed)["the adapter is where the decision says"][0]
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
        "fedethics.release.content.report_json", lambda _found: "another version's words\n"
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


ZEROS = "00" * 32


def _by_another_renderer(run, stage, **pages):
    """Let the coordinator sign other pages, as written by a renderer that nobody has."""
    for name, text in pages.items():
        folder.located(run, folder.PAGES[int(name[1:])]).write_text(text)
    made = manifest.write_manifest(run, stage.coordinator)
    forged = dataclasses.replace(made, renderer_sha256=ZEROS)
    durable.write(run / folder.MANIFEST, canonical.encode(terms.document(forged)))
    sign_file(
        run / folder.MANIFEST, run / folder.SIGNATURE, identity=stage.coordinator,
        purpose="release-manifest",
    )  # fmt: skip


def test_pages_that_were_not_checked_are_approved_only_by_name_and_on_record(stage, passed):
    _by_another_renderer(passed, stage, p1="<script>all is well</script>", p2="x")
    with pytest.raises(ApprovalRefused, match="--not-checked pages") as refusal:
        approve(passed, stage.coordinator, role="coordinator", reason=REASON)
    # Each thing by its name: both pages, and the ledgers, which do not lie here.
    names = [folder.PAGES[1], folder.PAGES[2], *(f"the ledger of {site}" for site in SITES)]
    assert all(name in str(refusal.value) for name in names)
    assert not (passed / "approvals.json").exists() and _state(passed) == "awaiting approval"
    taken = approve(
        passed, stage.coordinator, role="coordinator", reason=REASON, not_checked=["pages"]
    )
    (made,) = decision.load(passed)
    assert set(made.not_checked) == set(names)
    assert taken.released and f"{folder.PAGES[1]}" in taken.sentence
    # The approver's own version wrote the pages anew: they hold, and say what was not checked.
    assert _problems(passed) == {} and "<script>" not in (passed / "report.html").read_text()
    assert "not checked" in (passed / "report.html").read_text()


def test_what_was_not_checked_cannot_be_taken_out_of_an_approval(stage, passed):
    _by_another_renderer(passed, stage, p1="x")
    approve(passed, stage.coordinator, role="coordinator", reason=REASON, not_checked=["pages"])
    (made,) = decision.load(passed)
    decision.write([dataclasses.replace(made, not_checked=())], passed)
    assert "does not bear that signature" in _problems(passed)["approvals hold"][0]


@pytest.mark.parametrize("named", [["page"], ["pages", "ledgers"], ["ledger heads"], [""]])
def test_a_check_is_left_out_only_by_its_own_word_and_only_if_it_was(stage, passed, named):
    with pytest.raises(ApprovalRefused, match="was not left out here"):
        approve(passed, stage.coordinator, role="coordinator", reason=REASON, not_checked=["pages"])
    _by_another_renderer(passed, stage, p1="x")
    with pytest.raises(ApprovalRefused):
        approve(passed, stage.coordinator, role="coordinator", reason=REASON, not_checked=named)
    assert not (passed / "approvals.json").exists()


def test_every_check_that_leaves_something_out_can_be_named_and_is_told_by_verify(stage, passed):
    _by_another_renderer(passed, stage, p0="x")
    result = CliRunner().invoke(app, ["verify", str(passed), "--json"])
    told = json.loads(result.output)
    assert result.exit_code == 10 and not told["holds"]
    assert "adapter/README.md" in told["not-checked"]
    assert all(check.topic and check.not_checked for check in verify(passed) if check.undecided)
    # What is wrong counts more than what was not checked.
    (passed / "metrics.jsonl").write_text("changed")
    assert CliRunner().invoke(app, ["verify", str(passed)]).exit_code == 6


# Every verdict of the gate with every standing of its approvals, and what a scheduler is told.
STANDINGS = {
    ("pass", "none"): 8,
    ("pass", "of one role of two"): 8,
    ("pass", "void"): 8,
    ("pass", "whole"): 0,
    ("cannot conclude", "none"): 4,
    ("cannot conclude", "of one role of two"): 4,
    ("cannot conclude", "void"): 4,
    ("cannot conclude", "without saying despite"): 4,
    ("cannot conclude", "whole"): 9,
    ("fail", "none"): 3,
    ("fail", "of one role of two"): 3,
    ("fail", "void"): 3,
    ("fail", "whole"): 3,
}


@pytest.mark.parametrize(("verdict", "given"), STANDINGS)
def test_each_verdict_with_each_standing_of_its_approvals_has_its_exit_code(
    stage, lay, monkeypatch, verdict, given
):
    watched, keys = _watched(stage, "ethicist", "legal")
    run = lay(watched, watched.evidence())
    (run / folder.MANIFEST).write_bytes(b"x")
    digest = durable.file_sha256(run / folder.MANIFEST)
    judged = dataclasses.replace(gate.examine(run), verdict=verdict)
    monkeypatch.setattr(gate, "judge", lambda _opened: judged)
    roles = {"none": (), "of one role of two": ("legal",)}.get(given, ("ethicist", "legal"))
    decision.write(
        [
            decision.signed(
                decision.Approval(
                    role=role, name=f"the {role}", public_key=keys[role].public_key,
                    approved="2026-01-03T00:00:00+00:00", verdict=verdict, reason=REASON,
                    despite_uncertainty=given != "without saying despite",
                    manifest_sha256=ZEROS if given == "void" else digest,
                ),
                keys[role],
            )
            for role in roles
        ],
        run,
    )  # fmt: skip
    result = CliRunner().invoke(app, ["gate", str(run)])
    assert result.exit_code == STANDINGS[verdict, given], result.output
    state = decided(folder.load(run), verdict)[0].state
    assert (result.exit_code in {0, 9}) == (state == "released")


def test_no_two_standings_share_an_exit_code_and_each_is_documented():
    # What was released can be withdrawn, whatever the verdict was.
    withdrawn = {one for one in EXIT_CODES if one[1] == "withdrawn"}
    assert withdrawn == {("pass", "withdrawn"), ("cannot conclude", "withdrawn")}
    assert set(EXIT_CODES) - withdrawn == {
        (verdict, decide(charter, verdict, given).state)
        for charter in (SimpleNamespace(ethics=SimpleNamespace(approval_by=(), stakeholders=())),)
        for verdict in {overall([SimpleNamespace(verdict=one)]) for one in get_args(Outcome)}
        for given in ((), (SimpleNamespace(role="x", name="x", approved="2026", reason="x",
                                           despite_uncertainty=True, not_checked=()),))
    }  # fmt: skip
    assert len(set(EXIT_CODES.values())) == len(EXIT_CODES) - 1
    for page in ("release.md", "errors.md"):
        text = (Path(__file__).parents[2] / "docs" / page).read_text()
        for code in {*EXIT_CODES.values(), 6, 10}:
            assert f"| {code} |" in text, (page, code)
