"""What people read is compared with the evidence, not only with the coordinator's hash of it."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from fedethics.cli.release import app
from fedethics.errors import ApprovalRefused
from fedethics.release import decision, folder, manifest, readers, verification
from fedethics.release.approve import approve
from fedethics.release.decision import decided
from fedethics.release.folder import hash_bytes
from fedethics.release.gate import judge
from fedethics.release.verification import verify

CHECK = "pages follow from the evidence"


def _found(run):
    (check,) = [check for check in verify(run) if check.name == CHECK]
    return check


def _approve(run, stage, *, reason="known", not_checked=()):
    return approve(
        run, stage.coordinator, role="coordinator", reason=reason, despite_uncertainty=True,
        not_checked=not_checked,
    )  # fmt: skip


def test_pages_as_published_hold(release):
    assert _found(release) == verification.Check(name=CHECK, problems=())


@pytest.mark.parametrize("name", folder.PAGES)
def test_a_page_with_other_words_is_found_even_with_a_new_manifest(release, stage, name):
    path = folder.located(release, name)
    path.write_text(path.read_text() + "<p>All gates passed.</p>\n")
    manifest.write_manifest(release, stage.coordinator)
    (problem,) = _found(release).problems
    assert problem.startswith(f"{name} does not follow from the evidence")


def test_a_release_with_a_false_page_neither_verifies_nor_can_be_approved(release, stage):
    page = release / "report.html"
    page.write_text(page.read_text().replace("cannot conclude", "pass"))
    manifest.write_manifest(release, stage.coordinator)
    assert CliRunner().invoke(app, ["verify", str(release)]).exit_code == 6
    with pytest.raises(ApprovalRefused, match="does not follow from the evidence"):
        _approve(release, stage)
    assert not (release / "approvals.json").exists()


def test_a_page_that_is_left_out_is_found(release, stage):
    (release / "report.html").unlink()
    manifest.write_manifest(release, stage.coordinator)
    assert "report.html" in " ".join(_found(release).problems)


def test_pages_of_another_version_are_called_unchecked_and_approval_writes_them_anew(
    release, stage, monkeypatch
):
    page = release / "report.html"
    page.write_text(page.read_text() + "<!-- of another version -->\n")
    monkeypatch.setattr(manifest, "renderer_sha256", lambda: "ab" * 32)
    manifest.write_manifest(release, stage.coordinator)
    found = _found(release)
    assert found.undecided and not found.problems
    assert "NOT CHECKED: report.html" in found.note
    assert "? pages follow" in CliRunner().invoke(app, ["verify", str(release)]).output
    _approve(release, stage, not_checked=["pages"])
    assert "another version" not in page.read_text()
    assert _found(release) == verification.Check(name=CHECK, problems=())


def test_pages_that_an_approver_signed_with_other_words_are_found(release, stage):
    _approve(release, stage)
    (given,) = decision.load(release)
    page = release / "report.html"
    page.write_text(page.read_text() + "<p>All gates passed.</p>\n")
    other = tuple(
        hash_bytes(name, folder.located(release, name).read_bytes()) for name in folder.PAGES
    )
    forged = dataclasses.replace(given, pages=other, signature="")
    decision.write([decision.signed(forged, stage.coordinator)], release)
    assert {check.name for check in verify(release) if check.problems} == {CHECK}


def test_another_process_with_its_own_settings_writes_the_same_bytes(release, tmp_path):
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 9\naxes.titlesize: 30\n")
    code = (
        "import sys, json, hashlib, pathlib\n"
        "from fedethics.release import folder, gate, readers\n"
        "from fedethics.release.decision import decided\n"
        "run = folder.load(pathlib.Path(sys.argv[1])); found = gate.judge(run)\n"
        "pages = readers.pages_of(run, found, decided(run, found.verdict)[0])\n"
        "print(json.dumps({k: hashlib.sha256(v).hexdigest() for k, v in pages.items()}))\n"
    )
    made = subprocess.run(
        [sys.executable, "-c", code, str(release)],
        env={"MATPLOTLIBRC": str(tmp_path), "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    opened = folder.load(release)
    verdict = judge(opened)
    pages = readers.pages_of(opened, verdict, decided(opened, verdict.verdict)[0])
    for name, data in pages.items():
        assert hash_bytes(name, data).sha256 in made.stdout, name
