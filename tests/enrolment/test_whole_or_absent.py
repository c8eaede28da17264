"""A command that fails leaves what was there; the same command, corrected, then finishes.

The failures are enumerated: each write, flush, folder and renaming that a command makes fails in
turn, as on a full or broken disk, and a process is killed before each renaming.
"""

from __future__ import annotations

import errno
import io
import itertools
import os
import subprocess
import sys
from contextlib import suppress

import pytest

from fedethics.enrolment.homes import found_coordinator, found_site
from fedethics.errors import EnrolmentError, FedethicsError
from fedethics.policy.model import load_policy
from fedethics.site.home import SiteHome
from tests.enrolment.a_day import ADDRESS, ROOT, everything
from tests.enrolment.pki import RIGHT, Institution, write

DRAFT = ROOT / "configs" / "heart.charter.toml"
_CALLS = ("fsync", "rename", "replace", "mkdir", "chmod")


class FailingAt:
    """The operating system, whose n-th writing call fails for want of room."""

    def __init__(self, monkeypatch, number: int) -> None:
        self.left, self.failed = number, False
        for name in _CALLS:
            monkeypatch.setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, call):
        def counted(*arguments, **named):
            if os.path.isdir(arguments[0]) and call.__name__ == "mkdir":
                return call(*arguments, **named)  # it is there, and the caller knows
            self.left -= 1
            if self.left == 0:
                self.failed = True
                raise OSError(errno.ENOSPC, "No space left on device", str(arguments[0]))
            return call(*arguments, **named)

        return counted


def _site(home):
    found_site(home, site="alpha", data="data.csv")


def _coordinator(home):
    found_coordinator(home, draft=DRAFT, listen=ADDRESS, address=ADDRESS)


MAKE = {"site": _site, "coordinator": _coordinator}


def _state(path):
    return sorted(str(each.relative_to(path)) for each in path.rglob("*")), everything(path)


@pytest.mark.parametrize("there", ["absent", "empty", "with the operator's files"])
@pytest.mark.parametrize("kind", MAKE)
def test_whatever_fails_in_founding_a_home_nothing_is_left_and_the_next_try_succeeds(
    kind, there, tmp_path, monkeypatch
):
    home = tmp_path / "deep" / "home"
    if there != "absent":
        home.mkdir(parents=True, mode=0o700)
    if there == "with the operator's files":
        (home / "patients.csv").write_text("theirs")
        (home / "charter.toml").write_text("theirs")
    before = _state(tmp_path)
    for number in itertools.count(1):
        with monkeypatch.context() as patched:
            failing = FailingAt(patched, number)
            with suppress(FedethicsError, OSError):  # an OSError is of the ledger's own files
                MAKE[kind](home)
            if not failing.failed:
                break
        assert _state(tmp_path) == before, number
    assert number > 8
    assert (home / {"site": "site.toml", "coordinator": "federation.toml"}[kind]).exists()
    assert not [path for path in home.parent.iterdir() if path != home]
    assert not [path for path in home.iterdir() if path.name == ".being-made"]


_KILLED = """
import os, sys
from pathlib import Path
from tests.enrolment.test_whole_or_absent import MAKE
left, real = int(sys.argv[3]), os.rename
def rename(*paths):
    global left
    left -= 1
    if left == 0:
        os._exit(9)
    return real(*paths)
os.rename = rename
MAKE[sys.argv[1]](Path(sys.argv[2]))
"""


@pytest.mark.parametrize("number", [1, 3, 6])
@pytest.mark.parametrize("kind", MAKE)
def test_what_a_killed_command_left_in_a_folder_does_not_keep_the_next_one_away(
    kind, number, tmp_path
):
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "patients.csv").write_text("theirs")
    script = [sys.executable, "-c", _KILLED, kind, str(home), str(number)]
    assert subprocess.run(script, cwd=ROOT, check=False).returncode == 9
    MAKE[kind](home)
    assert (home / "patients.csv").read_text() == "theirs"
    assert not (home / ".being-made").exists()
    with pytest.raises(EnrolmentError, match="already"):
        MAKE[kind](home)


def test_a_home_that_was_moved_into_place_works(tmp_path):
    _site(tmp_path / "home")
    site = SiteHome.open(tmp_path / "home")
    assert load_policy(site.policy_path).minimum.cohort >= 3
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700


def _fail_while_writing(monkeypatch, endings):
    """Let the disk be full in the middle of writing files with these endings."""
    real = os.fdopen

    def opened(descriptor, *arguments, **named):
        file = real(descriptor, *arguments, **named)
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if not path.endswith(endings):
            return file
        text = isinstance(file, io.TextIOBase)

        def half(data):
            os.write(descriptor, (data.encode() if text else data)[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device", path)

        class Half:
            write = staticmethod(half)

            def __enter__(self):
                return self

            def __exit__(self, *_):
                file.close()

        return Half()

    monkeypatch.setattr(os, "fdopen", opened)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no /proc on this system")
@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("new.toml", ("charter", "init", "--industry", "finance", "--out", "{out}")),
        ("policy.toml", ("policy", "init", "{out}")),
        ("k.key", ("key", "new", "--out", "{out}", "--name", "N")),
        (
            "a.request",
            ("site", "request", "--home", "{day}/alpha", "-o", "{out}", "--declared-records", "9"),
        ),
        ("a.notice", ("site", "leave", "--home", "{day}/alpha", "-o", "{out}", "--yes")),
    ],
)
def test_a_command_whose_output_was_cut_off_can_be_run_again(
    output, words, day, tmp_path, fedethics, monkeypatch
):
    day.join("alpha")
    out = tmp_path / output
    filled = [word.format(out=out, day=day.path) for word in words]
    with monkeypatch.context() as patched:
        _fail_while_writing(patched, output)
        with patched.context() as quiet:
            quiet.setattr(sys, "stdin", io.StringIO(""))
            failed = fedethics(*filled)
    assert failed.exit_code != 0
    assert "No space left" in failed.err or "disk is full" in failed.err
    assert not out.exists()
    assert fedethics(*filled).exit_code == 0
    assert out.exists()


def test_a_site_whose_joining_failed_holds_what_it_held(day, monkeypatch):
    before = everything(day.path / "alpha")
    for number in itertools.count(1):
        with monkeypatch.context() as patched:
            failing = FailingAt(patched, number)
            with suppress(FedethicsError, OSError):
                day.join("alpha")
            if not failing.failed:
                break
        assert everything(day.path / "alpha") == before, number
    assert number > 4
    assert (day.path / "alpha" / "charter.json").exists()


def test_a_removal_that_was_cut_off_after_the_roster_is_finished_by_the_same_command(
    day, tmp_path, fedethics, monkeypatch
):
    day.join("gamma")
    home, notice = day.coordinator, tmp_path / "gamma.notice"
    left = ("site", "leave", "--home", day.path / "gamma", "-o", notice, "--yes")
    assert fedethics(*left).exit_code == 0
    remove = ("federation", "remove", "--home", home, notice, "--yes")
    with monkeypatch.context() as patched:
        patched.setattr(
            "fedethics.enrolment.approval._write_roster",
            lambda *_: (_ for _ in ()).throw(EnrolmentError("no space left")),
        )
        assert fedethics(*remove).exit_code == 2
    assert not (home / "roster" / "gamma.request").exists()
    assert fedethics(*remove).exit_code == 0
    assert not (home / "charter.json").exists()  # two sites are too few for one
    again = fedethics(*remove)
    assert (again.exit_code, "is not on the roster" in again.err) == (2, True)


def test_own_certificates_that_vanish_while_they_are_read_leave_no_home(
    tmp_path, fedethics, monkeypatch
):
    options = write(tmp_path / "pki", RIGHT["leaf and intermediate"](Institution()))
    start = ("federation", "init", "--home", tmp_path / "co", "--charter", DRAFT, *options)
    with monkeypatch.context() as patched:
        patched.setattr(
            "fedethics.enrolment.certificates._copy",
            lambda *_: (_ for _ in ()).throw(EnrolmentError("gone")),
        )
        assert fedethics(*start).exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["pki"]
    assert fedethics(*start).exit_code == 0
