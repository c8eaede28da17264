"""A site takes a withdrawal from whoever may approve, and from nobody else."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest

from fedethics import canonical, terms
from fedethics.charter import document
from fedethics.errors import SecaggReject
from fedethics.identity import Identity
from fedethics.release import withdrawal_note
from fedethics.release.withdrawal_note import Withdrawal
from fedethics.site.log import SiteLog
from fedethics.site.withdrawn import take_withdrawals, withdrawn_here
from tests.monitoring.test_verdicts import COORDINATOR, charter_of


@pytest.fixture
def home(tmp_path):
    """Return what of a site's home is asked here, with a copy of the release."""
    release = tmp_path / "release"
    release.mkdir()
    (release / "manifest.json").write_bytes(b"{}")
    path = tmp_path / "home"
    path.mkdir()
    (path / "charter.json").write_bytes(document.encode(charter_of()))
    return SimpleNamespace(path=path, charter_path=path / "charter.json", start_dir=release)


def note(key, **changes):
    made = Withdrawal(
        role="coordinator", name="coordinator", public_key=key.public_key,
        withdrawn="2026-02-01T00:00:00+00:00", reason="labels drifted",
        manifest_sha256=canonical.sha256_hex(b"{}"), renderer_sha256="d" * 64,
    )  # fmt: skip
    return dataclasses.replace(withdrawal_note.signed(made, key), **changes)


def sent(*notes):
    return canonical.encode([terms.document(one) for one in notes])


def test_a_note_of_an_approver_is_kept_and_ends_the_copy(home):
    log = SiteLog(home.path / "log.jsonl")
    take_withdrawals(home, sent(note(COORDINATOR)), log)
    take_withdrawals(home, sent(note(COORDINATOR)), log)
    (kept,) = withdrawn_here(home)
    assert kept.reason == "labels drifted"
    assert withdrawal_note.load(home.start_dir) == kept


def test_a_note_of_a_stranger_or_a_changed_one_stops_nothing(home):
    stranger = note(Identity.generate())
    changed = note(COORDINATOR, reason="something else")
    take_withdrawals(home, sent(stranger, changed), SiteLog(home.path / "log.jsonl"))
    assert withdrawn_here(home) == ()
    assert not (home.start_dir / "withdrawal.json").exists()
    assert (home.path / "log.jsonl").read_text().count("withdrawal not taken") == 2


def test_a_note_of_another_release_leaves_the_copy_alone(home):
    other = Withdrawal(
        role="coordinator", name="coordinator", public_key=COORDINATOR.public_key,
        withdrawn="2026-02-01T00:00:00+00:00", reason="another", manifest_sha256="e" * 64,
        renderer_sha256="d" * 64,
    )  # fmt: skip
    signed = withdrawal_note.signed(other, COORDINATOR)
    take_withdrawals(home, sent(signed), SiteLog(home.path / "log.jsonl"))
    assert len(withdrawn_here(home)) == 1
    assert not (home.start_dir / "withdrawal.json").exists()


@pytest.mark.parametrize("data", [b"nonsense", b"{}", b'["x"]', b"[" + b"0," * 64 + b"0]"])
def test_what_is_no_list_of_notes_is_refused(home, data):
    with pytest.raises(SecaggReject):
        take_withdrawals(home, data, SiteLog(home.path / "log.jsonl"))
