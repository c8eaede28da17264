"""Nothing lies unseen in a release's folder, and nothing that lies there makes a reader wait."""

from __future__ import annotations

import os
import re
import socket
import threading
from pathlib import Path

import pytest

from fedethics import plain_file
from fedethics.charter import document, signing
from fedethics.cli.ledger import receipts_in
from fedethics.enrolment import files
from fedethics.errors import FedethicsError, ReleaseError
from fedethics.policy import signatures as policy_signatures
from fedethics.release import durable, folder, manifest
from fedethics.release.decision import decided
from fedethics.release.manifest import foreign_files
from fedethics.release.publish import rewrite_reports
from fedethics.release.rules import integrity
from fedethics.release.run_log import read_events

READ = (
    "charter.json", "evidence.json", "gate.json", "manifest.json", "manifest.signature.json",
    "metrics.jsonl", "comparisons.json", "report.html", "report-privacy.html",
    "report-regulator.html", "report.json", "data-card.md", "withheld/adapter/README.md",
    "withheld/adapter/adapter_model.safetensors", "withheld/adapter/adapter_config.json",
)  # fmt: skip


def _fifo(path, _elsewhere):
    os.mkfifo(path)


def _socket(path, _elsewhere):
    with socket.socket(socket.AF_UNIX) as made:
        before = os.getcwd()
        os.chdir(path.parent)  # such an address has at most 107 bytes
        made.bind(path.name)
        os.chdir(before)


def _link(path, elsewhere):
    path.symlink_to(elsewhere)


def _dangling(path, _elsewhere):
    path.symlink_to(path.parent / "nowhere")


def _device(path, _elsewhere):
    path.symlink_to("/dev/zero")


def _hard_link(path, elsewhere):
    os.link(elsewhere, path)


def _sparse(path, _elsewhere):
    with path.open("wb") as file:
        file.truncate(1 << 33)


def _folder(path, _elsewhere):
    path.mkdir()


KINDS = (_fifo, _socket, _link, _dangling, _device, _hard_link, _sparse, _folder)


def _put(path, kind, tmp_path):
    """Put something of another kind in a file's place, with that file's own bytes."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(path.read_bytes() if path.exists() else b"x")
    path.unlink(missing_ok=True)
    kind(path, elsewhere)


def _within_a_minute(call):
    """Call it in a thread, so that one that waits for ever fails the test and ends it."""
    found: list[object] = []

    def run():
        try:
            found.append(call())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(60)
    assert found, "it still waits"
    return found[0]


@pytest.mark.parametrize("name", READ)
def test_what_is_no_plain_file_is_never_waited_for_and_never_verifies(release, tmp_path, name):
    path = release / name
    data = path.read_bytes()
    for kind in KINDS:
        _put(path, kind, tmp_path)
        found = _within_a_minute(lambda: manifest.verify_manifest(release))
        assert isinstance(found, ReleaseError) or any(path.name in text for text in found), kind
        opened = _within_a_minute(lambda: folder.load(release))
        if name in {"charter.json", "evidence.json"}:
            assert isinstance(opened, ReleaseError), kind
        elif "adapter_" in name:
            rules = _within_a_minute(lambda found=opened: integrity.examine(found))
            assert "fail" in {rule.verdict for rule in rules}, kind
        path.rmdir() if kind is _folder else path.unlink()
        path.write_bytes(data)
    assert manifest.verify_manifest(release) == ()


def test_everything_that_reads_a_release_reads_it_by_the_reader_that_never_waits():
    reading = re.compile(r"read_bytes|read_text|safe_open|[^_.\w]open\(|\.open\(")
    # The package's own sources and templates; a folder that is synced to the disk.
    own = {"renderer.py", "pages.py", "durable.py"}
    root = Path(folder.__file__).parent
    found = [
        f"{path.name}: {line.strip()}"
        for path in root.rglob("*.py")
        for line in path.read_text().splitlines()
        if path.name not in own and reading.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_thing_of_another_kind_is_named_wherever_it_lies(release, tmp_path, kind):
    for name in ("approvals.json", "events.jsonl", "notes", "withheld/notes"):
        _put(release / name, kind, tmp_path)
        assert [text for text in foreign_files(release) if name in text], name


@pytest.mark.parametrize("kind", [_fifo, _dangling, _folder])
def test_approvals_that_cannot_be_read_are_not_taken_for_none(release, tmp_path, kind):
    _put(release / "approvals.json", kind, tmp_path)
    with pytest.raises(ReleaseError, match="approvals"):
        decided(folder.load(release), "pass")


@pytest.mark.parametrize(
    "name",
    ["Charter.json", "EVIDENCE.JSON", "report.htmℓ", "Adapter", "manıfest.json", "x.py", ".x"],
)
def test_another_file_and_another_spelling_of_a_name_are_told(release, name):
    (release / name).write_text("x")
    (told,) = foreign_files(release)
    assert "remove it" in told


@pytest.mark.parametrize("part", ["withheld", "withheld/adapter", "sites", "protocol"])
def test_a_folder_that_is_a_link_is_refused(release, tmp_path, part):
    path = release / part
    path.mkdir(exist_ok=True)
    path.symlink_to(path.rename(tmp_path / "moved"))
    assert [text for text in foreign_files(release) if part in text]
    if "withheld" in part:
        with pytest.raises(ReleaseError, match="a link"):
            folder.load(release)


def test_a_folder_with_more_than_any_release_holds_is_not_listed_to_its_end(release):
    for number in range(1100):
        (release / "withheld" / f"{number}").touch()
    (told,) = foreign_files(release)
    assert "holds more than" in told


def test_a_name_that_moves_the_cursor_is_told_without_moving_it(release):
    (release / "\x1b]0;owned\x07\u202e").touch()
    (told,) = foreign_files(release)
    assert "owned" in told and "\x1b" not in told and "\u202e" not in told


def test_pages_are_not_written_through_a_link(release, tmp_path, stage):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (release / "report.html").unlink()
    (release / "report.html").symlink_to(victim)
    with pytest.raises(ReleaseError, match=r"report\.html is a link"):
        rewrite_reports(release, stage.coordinator)
    assert victim.read_text() == "mine"


READERS = {
    "a release's file": lambda path: durable.read(path),
    "its hash": lambda path: durable.file_sha256(path),
    "charter.json": lambda path: document.load(path.with_suffix(".json")),
    "charter.toml": lambda path: document.load(path.with_suffix(".toml")),
    "a charter's signatures": lambda path: signing.load_signatures(path),
    "a paper of an enrolment": lambda path: files.read(path),
    "a receipt": lambda path: receipts_in(path, "ab" * 32),
    "a policy's signatures": lambda path: policy_signatures.missing_signatures(
        path.with_suffix(""), content=b"", officers=["ab" * 32], required=1
    ),
    "a run's log": lambda path: list(read_events(path.parent)),
}


@pytest.mark.parametrize("kind", [_fifo, _socket, _device, _sparse, _folder])
@pytest.mark.parametrize("what", READERS)
def test_no_reader_of_what_others_sent_opens_a_pipe_a_device_or_too_much(tmp_path, what, kind):
    for name in ("x.sig", "x.json", "x.toml", "events.jsonl"):
        kind(tmp_path / name, None)
    found = _within_a_minute(lambda: READERS[what](tmp_path / "x.sig"))
    if isinstance(found, Exception):
        assert isinstance(found, FedethicsError) or "BadParameter" in type(found).__name__, found
    else:
        assert found, "it was taken as if there were no such file"


def test_a_file_of_exactly_the_limit_is_read_and_one_byte_more_is_not(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"x" * 100)
    assert plain_file.read(path, ReleaseError, limit=100) == b"x" * 100
    with pytest.raises(ReleaseError, match="100 bytes, more than the 99"):
        plain_file.read(path, ReleaseError, limit=99)


def test_a_path_that_a_person_typed_may_be_a_link_and_have_other_names(tmp_path):
    (tmp_path / "x").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "x")
    os.link(tmp_path / "x", tmp_path / "twin")
    for name in ("x", "link", "twin"):
        assert plain_file.read(tmp_path / name, ReleaseError, typed=True) == b"x"
        with pytest.raises(ReleaseError):
            plain_file.read(tmp_path / name, ReleaseError)


def test_a_file_swapped_between_look_and_open_is_looked_at_again(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"x")
    seen = plain_file.fault

    def swapped(at, **bounds):
        found = seen(at, **bounds)
        at.unlink()
        os.mkfifo(at)
        return found

    monkeypatch.setattr(plain_file, "fault", swapped)
    with pytest.raises(ReleaseError, match="pipe"):
        plain_file.read(path, ReleaseError)


def test_whatever_a_coordinator_keeps_beside_a_release_belongs_there(release):
    """The names are read from the coordinator's own sources: who adds one must add it there too."""
    rooms = Path(__file__).parents[2] / "fedethics" / "coordinator"
    sources = [path.read_text() for path in rooms.glob("*.py")]
    text = "\n".join(sources)
    folders = set(re.findall(r'^(?:FOLDER|SUMS) = "([^"]+)"', text, re.M))
    folders |= set(re.findall(r'path / "([a-z]+)"\)\.mkdir', text))
    files = set(re.findall(r'^(?:LOCK|STATE|METRICS|EVENTS) = "([^"]+)"', text, re.M))
    assert {"protocol", "rounds", "sums"} <= folders and {"lock", "state.json"} <= files
    for name in folders:
        (release / name).mkdir()
    for name in files:
        (release / name).touch()
    assert foreign_files(release) == ()
