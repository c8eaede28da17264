"""Manifest, receipts and verdict verify offline, and a change to any of them is found."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from fedethics.cli.release import app
from fedethics.errors import ApprovalRefused, ReleaseError
from fedethics.identity import Identity
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.events import SampledGaussian
from fedethics.privacy.ledger.entries import Cap, DataSet
from fedethics.privacy.ledger.ledger import Ledger
from fedethics.privacy.plan import make_plan
from fedethics.release import evidence, folder, gate, manifest, receipts, standing, verification
from fedethics.release.approve import approve
from fedethics.release.publish import rewrite_reports
from fedethics.release.verification import verify


def _problems(run):
    return {check.name: check.problems for check in verify(run) if check.problems}


def test_an_untouched_release_verifies(release):
    assert _problems(release) == {}
    assert CliRunner().invoke(app, ["verify", str(release)]).exit_code == 0


@pytest.mark.parametrize(
    "name",
    [
        "withheld/adapter/adapter_model.safetensors",
        "withheld/adapter/adapter_config.json",
        "withheld/adapter/README.md",
        "report.html",
        "metrics.jsonl",
        "comparisons.json",
    ],
)
def test_one_changed_byte_is_found(release, name):
    path = release / name
    path.write_bytes(path.read_bytes()[:-1] + b"~")
    result = CliRunner().invoke(app, ["verify", str(release)])
    assert result.exit_code == 6
    assert name.removeprefix("withheld/") in result.output


def test_a_verdict_by_an_older_method_is_refused_by_name_and_not_called_false(release, stage):
    judged = gate.recorded(release)
    gate.write(dataclasses.replace(judged, method=None), release)
    manifest.write_manifest(release, stage.coordinator)
    (problem,) = _problems(release)["verdict follows from the evidence"]
    assert "method 1" in problem and "release gate" in problem
    assert f"method {judged.method}, which gives {judged.verdict!r}" in problem


def test_changed_evidence_is_found_even_with_a_new_manifest(release, heart, stage):
    forged = dataclasses.replace(heart, counts=tuple(count + 40 for count in heart.counts))
    model = folder.load(release).evidence.model_hash
    evidence.write(dataclasses.replace(forged, model_hash=model), release / "evidence.json")
    manifest.write_manifest(release, stage.coordinator)
    assert "verdict follows from the evidence" in _problems(release)


def test_a_verdict_that_does_not_follow_is_found_even_with_a_new_manifest(release, stage):
    claimed = dataclasses.replace(gate.recorded(release), verdict="pass")
    gate.write(claimed, release)
    manifest.write_manifest(release, stage.coordinator)
    assert "verdict follows from the evidence" in _problems(release)


VERDICT = "verdict follows from the evidence"


def _rewritten(release, stage, *, wording, change):
    """The release with a gate.json that another version wrote, or that somebody changed."""
    judged = gate.recorded(release)
    first, *others = judged.rules
    rules = (dataclasses.replace(first, **change), *others)
    gate.write(dataclasses.replace(judged, rules=rules, wording=wording), release)
    manifest.write_manifest(release, stage.coordinator)
    (check,) = [one for one in verify(release) if one.name == VERDICT]
    return check


@pytest.mark.parametrize("wording", [None, "ab" * 32])
def test_a_release_whose_sentences_an_earlier_version_wrote_still_verifies(
    release, stage, wording, monkeypatch
):
    monkeypatch.setattr(manifest, "renderer_sha256", lambda: "ab" * 32)
    check = _rewritten(release, stage, wording=wording, change={"sentence": "In older words."})
    assert check.problems == () and check.undecided
    assert "the sentences of gate.json" in check.not_checked
    assert CliRunner().invoke(app, ["verify", str(release)]).exit_code == 10
    given = {"role": "coordinator", "reason": "known", "despite_uncertainty": True}
    with pytest.raises(ApprovalRefused, match="--not-checked sentences"):
        approve(release, stage.coordinator, **given)
    taken = approve(release, stage.coordinator, **given, not_checked=["sentences"])
    assert "the sentences of gate.json" in taken.approvals[0].not_checked


@pytest.mark.parametrize("wording", [None, "ab" * 32, "own"])
@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "fail"},
        {"name": "another rule"},
        {"topic": "integrity"},
        {"evidence": "elsewhere.json"},
        {"figure": None},
    ],
)
def test_a_changed_finding_fails_in_whatever_words(release, stage, wording, change):
    own = gate.recorded(release).wording
    check = _rewritten(release, stage, wording=own if wording == "own" else wording, change=change)
    assert "or another finding under the same verdict" in check.problems[0]


@pytest.mark.parametrize("wording", [None, "ab" * 32, "own"])
def test_a_changed_sentence_of_the_same_code_fails(release, stage, wording):
    own = gate.recorded(release).wording
    wording = own if wording == "own" else wording  # a coordinator may deny its own version
    check = _rewritten(release, stage, wording=wording, change={"sentence": "All is well."})
    assert "other sentences than the same code writes" in check.problems[0]


def test_what_no_rule_covers_cannot_be_emptied_in_whatever_words(release, stage, monkeypatch):
    monkeypatch.setattr(manifest, "renderer_sha256", lambda: "ab" * 32)
    silent = dataclasses.replace(gate.recorded(release), not_covered=(), wording="ab" * 32)
    gate.write(silent, release)
    manifest.write_manifest(release, stage.coordinator)
    assert VERDICT in _problems(release)


def test_only_words_may_stay_unchecked_where_an_adapter_is_used(release, monkeypatch):
    opened, undecided = folder.load(release), verification.Check(
        name="x", problems=(), note="It was not looked at.", topic="pages", undecided=True
    )  # fmt: skip
    released = SimpleNamespace(released=True, sentence="")
    monkeypatch.setattr(standing, "decided", lambda *_: (released, ()))
    monkeypatch.setattr(standing, "verify", lambda _: (undecided,))
    assert standing.require_released(release).path == opened.path
    other = dataclasses.replace(undecided, topic="ledgers")
    monkeypatch.setattr(standing, "verify", lambda _: (other,))
    with pytest.raises(ReleaseError, match="It was not looked at"):
        standing.require_released(release)


def test_a_forged_receipt_is_found(release, stage):
    opened = folder.load(release).evidence
    stranger = dataclasses.replace(opened.receipts[0], public_key=Identity.generate().public_key)
    changed = dataclasses.replace(opened, receipts=(stranger, *opened.receipts[1:]))
    evidence.write(changed, release / "evidence.json")
    assert "receipts are signed by the roster's keys" in _problems(release)


def test_a_manifest_that_lists_a_file_elsewhere_is_refused(release):
    path = release / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"metrics.jsonl"', b'"../../etc/host"'))
    assert any("no release has such a file" in text for text in manifest.verify_manifest(release))


def test_a_release_without_manifest_does_not_verify(release):
    (release / "manifest.json").unlink()
    assert CliRunner().invoke(app, ["verify", str(release)]).exit_code == 6


def test_the_report_is_rewritten_and_the_release_still_verifies(release):
    (release / "report.html").write_text("lost")
    result = CliRunner().invoke(app, ["report", str(release)])
    assert result.exit_code == 0
    assert _problems(release) == {}


def test_rewriting_the_report_does_not_launder_a_changed_adapter(release):
    adapter = release / "withheld/adapter/adapter_model.safetensors"
    adapter.write_bytes(adapter.read_bytes() + b"\0")
    with pytest.raises(ReleaseError, match="adapter_model"):
        rewrite_reports(release)


def test_the_manifest_says_what_sha256sum_says(release):
    listed = json.loads((release / "manifest.json").read_text())["files"]
    assert {file["path"] for file in listed} >= {"charter.json", "gate.json", "report.html"}
    for file in listed:
        data = folder.located(release, file["path"]).read_bytes()
        assert file["sha256"] == hashlib.sha256(data).hexdigest()
        assert file["size"] == len(data)


def test_evidence_survives_its_file(heart, tmp_path):
    evidence.write(heart, tmp_path / "evidence.json")
    assert evidence.load(tmp_path / "evidence.json") == heart


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (b'"test-mode":false', b'"test-mode":0', "test-mode: expected true or false"),
        (b'"run-id"', b'"run-idd"', "unknown key"),
        (b'"counts-variance":', b'"counts-variance":-', "at least 0"),
    ],
)
def test_malformed_evidence_is_refused_by_key(heart, before, after, told):
    data = evidence.encode(heart)
    changed = data.replace(before, after)
    assert changed != data
    with pytest.raises(ReleaseError, match=told):
        evidence.parse(changed)


def test_a_real_ledgers_receipt_passes_through(stage, tmp_path):
    site, plan = stage.identities["hungary"], make_plan(stage.charter)
    ledger = Ledger.open(tmp_path / "ledger.db", identity=site, create=True)
    held = ledger.reserve(
        data_set=DataSet(fingerprint="f" * 64, label="train"),
        run="r1",
        round_number=1,
        kind="update",
        events=[plan.update.event],
        charter_hash=plan.charter_hash,
        cap=Cap(epsilon=8.0, delta=plan.delta),
    )
    ledger.confirm(held, note="sent")
    signed = receipts.from_envelope(
        ledger.receipt(site="hungary", run="r1", charter=stage.charter, self_test_passed=True)
    )
    receipt = receipts.genuine(signed, roster_key=site.public_key)
    assert receipt is not None
    one_round = SampledGaussian(
        plan.update.noise_multiplier, 0.5, stage.charter.training.local_steps
    )
    assert receipt.training_epsilon == epsilon([one_round], delta=plan.delta)
    assert receipts.genuine(signed, roster_key=stage.identities["cleveland"].public_key) is None


def test_a_damaged_receipt_is_refused():
    with pytest.raises(ReleaseError, match="receipt"):
        receipts.from_envelope(b'{"body":"x"}')
